-- What an import takes is what the log gives back, to the byte, and was recorded in years that every reader can have.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Whatever way leads into the log: every later event would be recorded then or later.
ALTER TABLE events ADD CONSTRAINT events_recorded_at_in_years
  CHECK (recorded_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00') NOT VALID;

-- Takes in events that were numbered elsewhere, by every rule that append() keeps. Only the owner may, for whoever does it says when events were
-- recorded.
--
-- Each line is an event as JSON, its data and metadata as JSON strings that hold their text to the letter. The lines continue the log
-- or are refused, all of them, with the first that is wrong. A line of which the log would give back another is refused too: so whatever is
-- in the log was in the file. Returns the new head.
CREATE OR REPLACE FUNCTION import_events(lines text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT
SET jobledger.appending = 'on' SET enable_seqscan = off SET enable_bitmapscan = off
SET standard_conforming_strings = on SET TimeZone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
  positions     bigint[];
  ids           uuid[];
  categories    text[];
  jobs          text[];
  versions      integer[];
  types         text[];
  documents     text[];
  contexts      text[];
  occurred_ats  timestamptz[];
  recorded_ats  timestamptz[];
  codes         text[];
  messages      text[];
  totals        integer[];
  completeds    integer[];
  head_position bigint;
  head_recorded timestamptz;
  wrong_at      integer;
  wrong         text;
  changed       bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended(current_schema() || ' import', 0));
  SELECT array_agg(e.position), array_agg(e.event_id), array_agg(e.category), array_agg(e.stream_id), array_agg(e.version), array_agg(e.type),
         array_agg(e.data), array_agg(e.metadata), array_agg(e.occurred_at), array_agg(e.recorded_at)
    INTO positions, ids, categories, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats
    FROM unnest(lines) AS line,
         json_to_record(line::json) AS e (position bigint, event_id uuid, category text, stream_id text, version integer, type text,
                                          data text, metadata text, occurred_at timestamptz, recorded_at timestamptz);

  -- What depends on the event alone. By far the most need no second look.
  BEGIN
    SELECT array_agg(refusal.code ORDER BY e.ordinal), array_agg(refusal.message ORDER BY e.ordinal),
           array_agg(CASE WHEN (e.finding).is_plain THEN (e.finding).total ELSE refusal.total END ORDER BY e.ordinal),
           array_agg(CASE WHEN (e.finding).is_plain THEN (e.finding).completed ELSE refusal.completed END ORDER BY e.ordinal)
      INTO codes, messages, totals, completeds
      FROM (
        SELECT e.*,
               CASE
                 WHEN (length(e.job) BETWEEN 1 AND 255 AND e.job !~ '[\x01-\x1f\x7f]'
                       AND octet_length(e.data) <= 8388608 AND octet_length(e.metadata) <= 65536
                       AND (e.occurred_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00') IS NOT FALSE
                       AND (e.metadata = '{}' OR is_plain_metadata(e.metadata::jsonb))) IS NOT TRUE
                 THEN (false, null, null)::job_finding
                 WHEN is_mere_progress(e.type, e.data::jsonb)
                 THEN (true, null, (e.data::jsonb -> 'completed')::integer)::job_finding
                 ELSE find_plain(e.type, e.data::jsonb)
               END AS finding
          FROM unnest(jobs, types, documents, contexts, occurred_ats) WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, ordinal)
        OFFSET 0) AS e
      LEFT JOIN LATERAL (
        SELECT found.*
          FROM check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'), e.occurred_at, null) AS found
         WHERE (e.finding).is_plain IS NOT TRUE
        OFFSET 0) AS refusal ON true;  -- so that it is asked of those alone
  EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    -- Some data are no JSON that the ledger takes; check_event() says which, and why.
    SELECT array_agg(finding.code ORDER BY e.ordinal), array_agg(finding.message ORDER BY e.ordinal),
           array_agg(finding.total ORDER BY e.ordinal), array_agg(finding.completed ORDER BY e.ordinal)
      INTO codes, messages, totals, completeds
      FROM unnest(jobs, types, documents, contexts, occurred_ats) WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, ordinal),
           LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'), e.occurred_at, null) AS finding;
  END;

  -- Several calls may be under way, of lines that follow each other: each is checked while the one before is written, and waits for it here.
  IF head() < positions[1] - 1 THEN
    PERFORM await_events(positions[1] - 2, '10 s');
  END IF;
  PERFORM begin_numbering();
  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  head_position := coalesce(head_position, 0);

  -- What depends on what came before: in the log, and in these lines.
  WITH stream AS MATERIALIZED (
    SELECT s.job, last.version, last.total, last.type
      FROM (SELECT DISTINCT job COLLATE "C" AS job FROM unnest(jobs) AS job) AS s
      LEFT JOIN LATERAL (
        SELECT h.version, h.total, h.type FROM events AS h
         WHERE h.stream_id = s.job AND h.category = 'job' ORDER BY h.version DESC LIMIT 1) AS last ON true
  ),
  event AS (
    SELECT e.*, coalesce(stream.version, 0) AS stream_version,
           row_number() OVER in_stream AS place,
           coalesce(lag(e.type) OVER in_stream, stream.type) AS previous_type,
           coalesce(lag(e.recorded_at) OVER (ORDER BY e.ordinal), head_recorded) AS previous_recorded,
           -- The last total that was set, by way of the greatest ordinal.
           coalesce((max(e.ordinal << 32 | e.total) OVER in_stream & 4294967295)::integer, stream.total, 0) AS known_total
      FROM unnest(positions, ids, categories, jobs, versions, types, documents, contexts, recorded_ats, codes, messages, totals, completeds)
             WITH ORDINALITY AS e (position, id, category, job, version, type, data, metadata, recorded_at, code, message, total, completed, ordinal)
      LEFT JOIN stream ON stream.job = e.job
    WINDOW in_stream AS (PARTITION BY e.job ORDER BY e.ordinal)
  ),
  verdict AS (
    SELECT e.ordinal, e.known_total, CASE
             WHEN num_nulls(e.position, e.id, e.job, e.version, e.type, e.data, e.metadata, e.recorded_at) > 0
               THEN 'it lacks one of position, event_id, stream_id, version, type, data, metadata, recorded_at'
             WHEN e.position <> head_position + e.ordinal
               THEN format('it says position %s', e.position)
             WHEN e.category <> 'job'
               THEN format('there is no category %s', e.category)
             WHEN e.recorded_at NOT BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'
               THEN format('it was recorded at %s, which is not within the years 1 to 9999', e.recorded_at)
             WHEN e.recorded_at < e.previous_recorded
               THEN format('it was recorded at %s, earlier than the event before', e.recorded_at)
             WHEN e.code IS NOT NULL
               THEN e.message
             WHEN e.version <> e.stream_version + e.place
               THEN format('it has version %s, and its job is at version %s', e.version, e.stream_version + e.place - 1)
             WHEN (e.type = 'queued') <> (e.version = 1)
               THEN 'a job begins with queued, and with nothing else'
             WHEN e.previous_type IN ('finished', 'failed')
               THEN 'its job has ended; nothing follows an end'
             WHEN e.completed > e.known_total AND e.known_total > 0
               THEN format('%s of %s runs cannot be completed', e.completed, e.known_total)
           END AS problem
      FROM event AS e
  )
  SELECT array_agg(v.known_total ORDER BY v.ordinal),
         min(v.ordinal) FILTER (WHERE v.problem IS NOT NULL),
         (array_agg(v.problem ORDER BY v.ordinal) FILTER (WHERE v.problem IS NOT NULL))[1]
    INTO totals, wrong_at, wrong
    FROM verdict AS v;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'the event for position %: %', head_position + wrong_at, wrong USING ERRCODE = 'JL020';
  END IF;

  INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  SELECT e.position, e.id, e.job, e.version, e.type, e.data::json, e.metadata::json, e.occurred_at, e.recorded_at, e.total, e.completed
    FROM unnest(positions, ids, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats, totals, completeds)
           AS e (position, id, job, version, type, data, metadata, occurred_at, recorded_at, total, completed);

  -- As jobledger export writes them.
  SELECT min(e.position) INTO changed
    FROM events AS e
    JOIN unnest(lines) WITH ORDINALITY AS given (line, ordinal) ON given.ordinal = e.position - head_position
   WHERE e.position BETWEEN head_position + 1 AND head_position + cardinality(lines)
     AND given.line <> '{"position":' || e.position || ',"event_id":"' || e.event_id || '","category":' || to_json(e.category) || ',"stream_id":' || to_json(e.stream_id::text)
                       || ',"version":' || e.version || ',"type":' || to_json(e.type::text)
                       || ',"occurred_at":' || coalesce(to_json(e.occurred_at)::text, 'null') || ',"recorded_at":' || to_json(e.recorded_at)
                       || ',"data":' || to_json(e.data::text) || ',"metadata":' || to_json(e.metadata::text) || '}';
  IF changed IS NOT NULL THEN
    RAISE EXCEPTION 'the event for position %: its line is not written as jobledger export writes it', changed USING ERRCODE = 'JL020';
  END IF;
  RETURN head_position + cardinality(lines);
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'an event id comes twice: %', sqlerrm USING ERRCODE = 'JL020';
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Takes in events that were numbered elsewhere, by every rule that append() keeps. Only the owner may, for whoever does it says when events were
-- recorded.
--
-- Each line is an event as JSON, its data and metadata as JSON strings that hold their text to the letter. The lines continue the log
-- or are refused, all of them, with the first that is wrong. Returns the new head.
CREATE OR REPLACE FUNCTION import_events(lines text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT
SET jobledger.appending = 'on' SET enable_seqscan = off SET enable_bitmapscan = off SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
  positions     bigint[];
  ids           uuid[];
  categories    text[];
  jobs          text[];
  versions      integer[];
  types         text[];
  documents     text[];
  contexts      text[];
  occurred_ats  timestamptz[];
  recorded_ats  timestamptz[];
  codes         text[];
  messages      text[];
  totals        integer[];
  completeds    integer[];
  head_position bigint;
  head_recorded timestamptz;
  wrong_at      integer;
  wrong         text;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended(current_schema() || ' import', 0));
  SELECT array_agg(e.position), array_agg(e.event_id), array_agg(e.category), array_agg(e.stream_id), array_agg(e.version), array_agg(e.type),
         array_agg(e.data), array_agg(e.metadata), array_agg(e.occurred_at), array_agg(e.recorded_at)
    INTO positions, ids, categories, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats
    FROM unnest(lines) AS line,
         json_to_record(line::json) AS e (position bigint, event_id uuid, category text, stream_id text, version integer, type text,
                                          data text, metadata text, occurred_at timestamptz, recorded_at timestamptz);

  -- What depends on the event alone. By far the most need no second look.
  BEGIN
    SELECT array_agg(refusal.code ORDER BY e.ordinal), array_agg(refusal.message ORDER BY e.ordinal),
           array_agg(CASE WHEN (e.finding).is_plain THEN (e.finding).total ELSE refusal.total END ORDER BY e.ordinal),
           array_agg(CASE WHEN (e.finding).is_plain THEN (e.finding).completed ELSE refusal.completed END ORDER BY e.ordinal)
      INTO codes, messages, totals, completeds
      FROM (
        SELECT e.*,
               CASE
                 WHEN (length(e.job) BETWEEN 1 AND 255 AND e.job !~ '[\x01-\x1f\x7f]'
                       AND octet_length(e.data) <= 8388608 AND octet_length(e.metadata) <= 65536
                       AND (e.occurred_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00') IS NOT FALSE
                       AND (e.metadata = '{}' OR is_plain_metadata(e.metadata::jsonb))) IS NOT TRUE
                 THEN (false, null, null)::job_finding
                 WHEN is_mere_progress(e.type, e.data::jsonb)
                 THEN (true, null, (e.data::jsonb -> 'completed')::integer)::job_finding
                 ELSE find_plain(e.type, e.data::jsonb)
               END AS finding
          FROM unnest(jobs, types, documents, contexts, occurred_ats) WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, ordinal)
        OFFSET 0) AS e
      LEFT JOIN LATERAL (
        SELECT found.*
          FROM check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'), e.occurred_at, null) AS found
         WHERE (e.finding).is_plain IS NOT TRUE
        OFFSET 0) AS refusal ON true;  -- so that it is asked of those alone
  EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    -- Some data are no JSON that the ledger takes; check_event() says which, and why.
    SELECT array_agg(finding.code ORDER BY e.ordinal), array_agg(finding.message ORDER BY e.ordinal),
           array_agg(finding.total ORDER BY e.ordinal), array_agg(finding.completed ORDER BY e.ordinal)
      INTO codes, messages, totals, completeds
      FROM unnest(jobs, types, documents, contexts, occurred_ats) WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, ordinal),
           LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'), e.occurred_at, null) AS finding;
  END;

  -- Several calls may be under way, of lines that follow each other: each is checked while the one before is written, and waits for it here.
  IF head() < positions[1] - 1 THEN
    PERFORM await_events(positions[1] - 2, '10 s');
  END IF;
  PERFORM begin_numbering();
  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  head_position := coalesce(head_position, 0);

  -- What depends on what came before: in the log, and in these lines.
  WITH stream AS MATERIALIZED (
    SELECT s.job, last.version, last.total, last.type
      FROM (SELECT DISTINCT job COLLATE "C" AS job FROM unnest(jobs) AS job) AS s
      LEFT JOIN LATERAL (
        SELECT h.version, h.total, h.type FROM events AS h
         WHERE h.stream_id = s.job AND h.category = 'job' ORDER BY h.version DESC LIMIT 1) AS last ON true
  ),
  event AS (
    SELECT e.*, coalesce(stream.version, 0) AS stream_version,
           row_number() OVER in_stream AS place,
           coalesce(lag(e.type) OVER in_stream, stream.type) AS previous_type,
           coalesce(lag(e.recorded_at) OVER (ORDER BY e.ordinal), head_recorded) AS previous_recorded,
           -- The last total that was set, by way of the greatest ordinal.
           coalesce((max(e.ordinal << 32 | e.total) OVER in_stream & 4294967295)::integer, stream.total, 0) AS known_total
      FROM unnest(positions, ids, categories, jobs, versions, types, documents, contexts, recorded_ats, codes, messages, totals, completeds)
             WITH ORDINALITY AS e (position, id, category, job, version, type, data, metadata, recorded_at, code, message, total, completed, ordinal)
      LEFT JOIN stream ON stream.job = e.job
    WINDOW in_stream AS (PARTITION BY e.job ORDER BY e.ordinal)
  ),
  verdict AS (
    SELECT e.ordinal, e.known_total, CASE
             WHEN num_nulls(e.position, e.id, e.job, e.version, e.type, e.data, e.metadata, e.recorded_at) > 0
               THEN 'it lacks one of position, event_id, stream_id, version, type, data, metadata, recorded_at'
             WHEN e.position <> head_position + e.ordinal
               THEN format('it says position %s', e.position)
             WHEN e.category <> 'job'
               THEN format('there is no category %s', e.category)
             WHEN NOT isfinite(e.recorded_at) OR e.recorded_at < e.previous_recorded
               THEN format('it was recorded at %s, earlier than the event before', e.recorded_at)
             WHEN e.code IS NOT NULL
               THEN e.message
             WHEN e.version <> e.stream_version + e.place
               THEN format('it has version %s, and its job is at version %s', e.version, e.stream_version + e.place - 1)
             WHEN (e.type = 'queued') <> (e.version = 1)
               THEN 'a job begins with queued, and with nothing else'
             WHEN e.previous_type IN ('finished', 'failed')
               THEN 'its job has ended; nothing follows an end'
             WHEN e.completed > e.known_total AND e.known_total > 0
               THEN format('%s of %s runs cannot be completed', e.completed, e.known_total)
           END AS problem
      FROM event AS e
  )
  SELECT array_agg(v.known_total ORDER BY v.ordinal),
         min(v.ordinal) FILTER (WHERE v.problem IS NOT NULL),
         (array_agg(v.problem ORDER BY v.ordinal) FILTER (WHERE v.problem IS NOT NULL))[1]
    INTO totals, wrong_at, wrong
    FROM verdict AS v;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'the event for position %: %', head_position + wrong_at, wrong USING ERRCODE = 'JL020';
  END IF;

  INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  SELECT e.position, e.id, e.job, e.version, e.type, e.data::json, e.metadata::json, e.occurred_at, e.recorded_at, e.total, e.completed
    FROM unnest(positions, ids, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats, totals, completeds)
           AS e (position, id, job, version, type, data, metadata, occurred_at, recorded_at, total, completed);
  RETURN head_position + cardinality(lines);
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'an event id comes twice: %', sqlerrm USING ERRCODE = 'JL020';
END
$$;

ALTER TABLE events DROP CONSTRAINT events_recorded_at_in_years;
