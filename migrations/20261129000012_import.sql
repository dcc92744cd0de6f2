-- Import: events that were numbered elsewhere, by every rule that append() keeps. Only the owner
-- may import, because whoever does it says when events were recorded.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Begins an import, or continues one, and returns the head. A copy is the same log, so it has the
-- same epoch: an empty ledger takes the file's, and any other must have it already. The file must
-- begin within the log or directly behind it.
CREATE FUNCTION begin_import(of_epoch uuid, first_position bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  here uuid;
BEGIN
  -- A client that was killed may have sent lines that are still being written. The head is known
  -- after that.
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || ' import', 0));
  PERFORM lock_log();
  here := (SELECT epoch FROM ledger);
  IF first_position > head() + 1 THEN
    RAISE EXCEPTION 'the file begins at position %, and the ledger ends at %', first_position, head()
      USING ERRCODE = 'JL020',
        HINT = format('First import what comes between: jobledger export --from %s --to %s', head() + 1,
          first_position - 1);
  ELSIF head() = 0 THEN
    UPDATE ledger SET epoch = of_epoch WHERE epoch <> of_epoch;
  ELSIF here <> of_epoch THEN
    RAISE EXCEPTION 'the ledger holds another log: its epoch is %, that of the file %', here, of_epoch
      USING ERRCODE = 'JL020',
        HINT = 'Import into an empty ledger: choose another JOBLEDGER_SCHEMA and run jobledger migrate.';
  END IF;
  RETURN head();
END
$$;

-- An event as a line of an export: JSON, with data and metadata as JSON strings that hold their
-- text to the letter.
CREATE FUNCTION exported_line(e events) RETURNS text
LANGUAGE sql STABLE
RETURN '{"position":' || e.position || ',"event_id":"' || e.event_id || '","category":' || to_json(e.category)
  || ',"stream_id":' || to_json(e.stream_id::text) || ',"version":' || e.version || ',"type":' || to_json(e.type::text)
  || ',"occurred_at":' || coalesce(to_json(e.occurred_at)::text, 'null') || ',"recorded_at":' || to_json(e.recorded_at)
  || ',"data":' || to_json(e.data::text) || ',"metadata":' || to_json(e.metadata::text) || '}';

-- What depends on the events alone, by ordinal: as check_event() says it.
CREATE FUNCTION check_imported(
  jobs text[], types text[], data text[], metadata text[], occurred_ats timestamptz[],
  OUT messages text[], OUT totals integer[], OUT completeds integer[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  -- By far the most events pass the quick check.
  SELECT array_agg(refusal.message ORDER BY e.ordinal),
         array_agg(CASE WHEN (e.finding).is_plain THEN (e.finding).total ELSE refusal.total END ORDER BY e.ordinal),
         array_agg(CASE WHEN (e.finding).is_plain THEN (e.finding).completed ELSE refusal.completed END
                   ORDER BY e.ordinal)
    INTO messages, totals, completeds
    FROM (
      SELECT e.*,
             CASE
               WHEN (is_stream_id(e.job) AND octet_length(e.data) <= longest_data() AND e.metadata IS NOT NULL
                     AND is_event_time(e.occurred_at) IS NOT FALSE AND is_plain_metadata(e.metadata)) IS NOT TRUE
               THEN (false, null, null)::quick_finding
               WHEN is_mere_progress(e.type, e.data::jsonb)
               THEN (true, null, (e.data::jsonb -> 'completed')::integer)::quick_finding
               ELSE quick_check(e.type, e.data::jsonb)
             END AS finding
        FROM unnest(jobs, types, data, metadata, occurred_ats)
               WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, ordinal)
      OFFSET 0) AS e
    LEFT JOIN LATERAL (
      SELECT found.*
        FROM check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'),
                         e.occurred_at, null) AS found
       WHERE (e.finding).is_plain IS NOT TRUE
      OFFSET 0) AS refusal ON true;  -- so that check_event() is called for those alone
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  -- Some data is not JSON that the ledger takes. check_event() says which, and why.
  SELECT array_agg(finding.message ORDER BY e.ordinal), array_agg(finding.total ORDER BY e.ordinal),
         array_agg(finding.completed ORDER BY e.ordinal)
    INTO messages, totals, completeds
    FROM unnest(jobs, types, data, metadata, occurred_ats)
           WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, ordinal),
         LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'),
                             e.occurred_at, null) AS finding;
END
$$;

-- Takes in events, each a line as exported_line() writes it. The lines continue the log, or all of
-- them are refused, with the first that is wrong. A line that the log would give back differently
-- is refused too: so whatever is in the log was in the file. Returns the new head.
CREATE FUNCTION import_events(lines text[]) RETURNS bigint
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
  checked       record;
  last          record;
  totals        integer[];
  wrong_at      bigint;
  wrong         text;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended(current_schema() || ' import', 0));
  SELECT array_agg(e.position), array_agg(e.event_id), array_agg(e.category), array_agg(e.stream_id),
         array_agg(e.version), array_agg(e.type), array_agg(e.data), array_agg(e.metadata),
         array_agg(e.occurred_at), array_agg(e.recorded_at)
    INTO positions, ids, categories, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats
    FROM unnest(lines) AS line,
         json_to_record(line::json) AS e (
           position bigint, event_id uuid, category text, stream_id text, version integer, type text,
           data text, metadata text, occurred_at timestamptz, recorded_at timestamptz);
  checked := check_imported(jobs, types, documents, contexts, occurred_ats);

  -- Several calls may be under way, of lines that follow each other. Each is checked while the one
  -- before is written, and waits for it here.
  IF head() < positions[1] - 1 THEN
    PERFORM await_events(positions[1] - 2, '10 s');
  END IF;
  PERFORM lock_log();
  last := last_event();

  -- What depends on what came before: in the log, and in these lines.
  WITH stream AS MATERIALIZED (
    SELECT s.job, head.version, head.total, head.type
      FROM (SELECT DISTINCT job COLLATE "C" AS job FROM unnest(jobs) AS job) AS s
      LEFT JOIN LATERAL (
        SELECT h.version, h.total, h.type FROM events AS h
         WHERE h.stream_id = s.job AND h.category = 'job' ORDER BY h.version DESC LIMIT 1) AS head ON true
  ),
  event AS (
    SELECT e.*, coalesce(stream.version, 0) AS stream_version,
           row_number() OVER in_stream AS place,
           coalesce(lag(e.type) OVER in_stream, stream.type) AS previous_type,
           coalesce(lag(e.recorded_at) OVER (ORDER BY e.ordinal), last.recorded_at) AS previous_recorded,
           -- The last total that was set: the one with the greatest ordinal.
           coalesce((max(e.ordinal << 32 | e.total) OVER in_stream & 4294967295)::integer,
                    stream.total, 0) AS known_total
      FROM unnest(positions, ids, categories, jobs, versions, types, documents, contexts, recorded_ats,
                  checked.messages, checked.totals, checked.completeds)
             WITH ORDINALITY AS e (position, id, category, job, version, type, data, metadata, recorded_at,
                                   message, total, completed, ordinal)
      LEFT JOIN stream ON stream.job = e.job
    WINDOW in_stream AS (PARTITION BY e.job ORDER BY e.ordinal)
  ),
  verdict AS (
    SELECT e.ordinal, e.known_total, CASE
             WHEN num_nulls(e.position, e.id, e.job, e.version, e.type, e.data, e.metadata, e.recorded_at) > 0
               THEN 'it lacks one of position, event_id, stream_id, version, type, data, metadata, recorded_at'
             WHEN e.position <> last.head + e.ordinal
               THEN format('it says position %s', e.position)
             WHEN e.category <> 'job'
               THEN format('there is no category %s', e.category)
             WHEN NOT is_event_time(e.recorded_at)
               THEN format('it was recorded at %s, which is not within the years 1 to 9999', e.recorded_at)
             WHEN e.recorded_at < e.previous_recorded
               THEN format('it was recorded at %s, earlier than the event before', e.recorded_at)
             WHEN e.message IS NOT NULL
               THEN e.message
             WHEN e.version <> e.stream_version + e.place
               THEN format('it has version %s, and its job is at version %s', e.version, e.stream_version + e.place - 1)
             WHEN lifecycle_refusal(e.type, e.previous_type) IN ('unknown_job', 'already_queued')
               THEN 'a job begins with queued, and with nothing else'
             WHEN lifecycle_refusal(e.type, e.previous_type) IS NOT NULL
               THEN 'its job has ended; nothing follows an end'
             WHEN exceeds_total(e.completed, e.known_total)
               THEN format('%s of %s runs cannot be completed', e.completed, e.known_total)
           END AS problem
      FROM event AS e
  )
  SELECT array_agg(v.known_total ORDER BY v.ordinal),
         last.head + min(v.ordinal) FILTER (WHERE v.problem IS NOT NULL),
         (array_agg(v.problem ORDER BY v.ordinal) FILTER (WHERE v.problem IS NOT NULL))[1]
    INTO totals, wrong_at, wrong
    FROM verdict AS v;

  IF wrong IS NULL THEN
    PERFORM write_events(positions, ids, jobs, versions, types, documents::json[], contexts::json[], occurred_ats, null,
                         recorded_ats, totals, checked.completeds);
    SELECT min(e.position), 'its line is not written as jobledger export writes it'
      INTO wrong_at, wrong
      FROM events AS e
      JOIN unnest(lines) WITH ORDINALITY AS given (line, ordinal) ON given.ordinal = e.position - last.head
     WHERE e.position BETWEEN last.head + 1 AND last.head + cardinality(lines) AND given.line <> exported_line(e);
  END IF;
  IF wrong_at IS NOT NULL THEN
    RAISE EXCEPTION 'the event for position %: %', wrong_at, wrong USING ERRCODE = 'JL020';
  END IF;
  RETURN last.head + cardinality(lines);
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'an event id comes twice: %', sqlerrm USING ERRCODE = 'JL020';
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION import_events(text[]), check_imported(text[], text[], text[], text[], timestamptz[]),
  exported_line(events), begin_import(uuid, bigint);
