-- The one way into the log, in sets: a plain batch is numbered and inserted as a whole; any other goes through append_each().

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- What these take the place of; kept under other names only so that this migration can be undone.
ALTER FUNCTION append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]) RENAME TO append_before_sets;
ALTER FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz) RENAME TO append_event_before_sets;

-- Appends one event, by the same rules as a batch but without the machinery of sets, which would take longer than the event itself.
CREATE FUNCTION append_single(
  job text, type text, data text, metadata text, expected_version integer, event_id uuid, occurred_at timestamptz
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  longest_data     CONSTANT integer := 8 * 1024 * 1024;
  longest_metadata CONSTANT integer := 64 * 1024;
  id               CONSTANT uuid    := coalesce(event_id, uuid_v7());
  value            jsonb;
  finding          job_finding;
  is_plain         boolean;
  refusal          record;
  codes            text[];
  messages         text[];
  head             record;
  last             record;
  answer           batch_answer;
BEGIN
  BEGIN
    IF octet_length(data) <= longest_data AND octet_length(coalesce(metadata, '')) <= longest_metadata THEN
      value := data::jsonb;
      finding := CASE WHEN is_mere_progress(type, value) THEN (true, null, (value -> 'completed')::integer)::job_finding
                      ELSE find_plain(type, value) END;
    END IF;
    is_plain := coalesce(
      finding.is_plain
        AND length(job) BETWEEN 1 AND 255 AND job !~ '[\x01-\x1f\x7f]'
        AND (occurred_at BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00') IS NOT FALSE
        AND (expected_version >= 0) IS NOT FALSE
        AND CASE WHEN metadata IS NULL OR metadata = '{}' THEN true ELSE is_plain_metadata(metadata::jsonb) END, false);
  EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    is_plain := false;
  END;
  IF NOT is_plain THEN
    refusal := check_event(job, type, coalesce(data, 'null'), coalesce(metadata, '{}'), occurred_at, expected_version);
    finding := (false, refusal.total, refusal.completed);
    codes := ARRAY[refusal.code];
    messages := ARRAY[refusal.message];
  END IF;

  PERFORM begin_numbering();

  IF is_plain THEN
    SELECT e.version, coalesce(finding.total, e.total) AS total, e.type IN ('finished', 'failed') AS has_ended INTO head
      FROM events AS e WHERE e.stream_id = job AND e.category IS NOT DISTINCT FROM 'job' ORDER BY e.version DESC LIMIT 1;
    is_plain := CASE WHEN type = 'queued' THEN head.version IS NULL ELSE head.version IS NOT NULL AND NOT head.has_ended END
      AND (expected_version <> coalesce(head.version, 0)) IS NOT TRUE
      AND (finding.completed > head.total AND head.total > 0) IS NOT TRUE
      AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = id);
  END IF;
  IF NOT is_plain THEN
    SELECT array_agg(each) INTO answer.answers
      FROM append_each(ARRAY[job], ARRAY[type], ARRAY[data], ARRAY[metadata], ARRAY[expected_version], ARRAY[id], ARRAY[occurred_at], null,
                       codes, messages, ARRAY[finding.total], ARRAY[finding.completed]) AS each;
    RETURN answer;
  END IF;

  SELECT e.position, e.recorded_at INTO last FROM events AS e ORDER BY e.position DESC LIMIT 1;
  INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  VALUES (coalesce(last.position, 0) + 1, id, job, coalesce(head.version, 0) + 1, type, data::json, coalesce(metadata, '{}')::json,
          occurred_at, greatest(clock_timestamp(), last.recorded_at), coalesce(head.total, finding.total, 0), finding.completed);
  RETURN (coalesce(last.position, 0) + 1, ARRAY[coalesce(head.version, 0) + 1], ARRAY[id], null)::batch_answer;
END
$$;

-- Appends a batch: append() with its answers still packed, for clients that can unpack them. With an appender and a turn it is written
-- after that appender's batch of the turn before: see await_turn().
--
-- The settings make its plans the same whatever the statistics say: made on an empty log, a plan would be kept for a full one.
CREATE FUNCTION append_batch(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[]        DEFAULT null,
  expected_versions integer[]     DEFAULT null,
  event_ids         uuid[]        DEFAULT null,
  occurred_ats      timestamptz[] DEFAULT null,
  requests          integer[]     DEFAULT null,
  appender          text          DEFAULT null,
  turn              bigint        DEFAULT null
) RETURNS batch_answer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
  batch         CONSTANT integer := cardinality(jobs);
  longest_batch CONSTANT integer := 10000;
  checked       checked_batch;
  codes         text[];
  messages      text[];
  head_versions integer[];  -- by number of the job
  head_totals   integer[];
  head_position bigint;
  head_recorded timestamptz;
  answer        batch_answer;
BEGIN
  IF batch IS NULL OR batch = 0 THEN
    IF turn IS NOT NULL THEN
      PERFORM await_turn(appender, turn);
      PERFORM end_turn(appender, turn);
    END IF;
    RETURN null;
  ELSIF batch > longest_batch THEN
    RAISE EXCEPTION 'a call takes % events at most, not %', longest_batch, batch USING ERRCODE = 'program_limit_exceeded';
  ELSIF cardinality(types) IS DISTINCT FROM batch OR cardinality(data) IS DISTINCT FROM batch THEN
    RAISE EXCEPTION 'jobs, types and data must have the same length' USING ERRCODE = 'array_subscript_error';
  ELSIF concat(array_ndims(jobs), array_ndims(types), array_ndims(data), array_ndims(metadata), array_ndims(expected_versions),
               array_ndims(event_ids), array_ndims(occurred_ats), array_ndims(requests),
               array_lower(jobs, 1), array_lower(types, 1), array_lower(data, 1), array_lower(metadata, 1),
               array_lower(expected_versions, 1), array_lower(event_ids, 1), array_lower(occurred_ats, 1), array_lower(requests, 1)) ~ '[^1]'
  THEN
    RAISE EXCEPTION 'every array must have one dimension, and begin at 1' USING ERRCODE = 'array_subscript_error';
  END IF;

  IF batch = 1 AND turn IS NULL THEN
    RETURN append_single(jobs[1], types[1], data[1], metadata[1], expected_versions[1], event_ids[1], occurred_ats[1]);
  END IF;

  -- What can be done before the log is locked.
  checked := check_batch(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, requests);
  IF NOT checked.is_plain THEN
    SELECT array_agg(coalesce(e.id, uuid_v7()) ORDER BY e.ordinal),
           array_agg(finding.code ORDER BY e.ordinal),
           array_agg(finding.message ORDER BY e.ordinal),
           array_agg(finding.total ORDER BY e.ordinal),
           array_agg(finding.completed ORDER BY e.ordinal)
      INTO checked.ids, codes, messages, checked.new_totals, checked.completeds
      FROM unnest(jobs, types, data, metadata, occurred_ats, expected_versions, event_ids)
             WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, id, ordinal),
           LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, '{}'), e.occurred_at, e.expected_version) AS finding
     WHERE e.ordinal <= batch;
  END IF;

  IF turn IS NOT NULL THEN
    PERFORM await_turn(appender, turn);
  END IF;
  PERFORM begin_numbering();
  IF turn IS NOT NULL THEN
    PERFORM end_turn(appender, turn);
  END IF;

  IF checked.is_plain THEN
    -- One probe for each job: is it where its events take it to be? And one for each event id.
    SELECT bool_and(CASE WHEN s.opens THEN head.version IS NULL ELSE head.version IS NOT NULL AND NOT head.has_ended END
             AND (s.expected <> coalesce(head.version, 0)) IS NOT TRUE
             AND (s.completed > head.total AND head.total > 0) IS NOT TRUE),
           array_agg(coalesce(head.version, 0) ORDER BY s.stream),
           array_agg(coalesce(head.total, 0) ORDER BY s.stream)
      INTO checked.is_plain, head_versions, head_totals
      FROM unnest(checked.stream_jobs, checked.stream_opens, checked.stream_expected, checked.stream_completeds)
             WITH ORDINALITY AS s (job, opens, expected, completed, stream)
      LEFT JOIN LATERAL (
        SELECT e.version, e.total, e.type IN ('finished', 'failed') AS has_ended FROM events AS e
         WHERE e.stream_id = s.job AND e.category IS NOT DISTINCT FROM 'job' ORDER BY e.version DESC LIMIT 1) AS head ON true;
    checked.is_plain := checked.is_plain AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = ANY (checked.ids));
  END IF;

  IF NOT checked.is_plain THEN
    SELECT array_agg(each) INTO answer.answers
      FROM append_each(jobs, types, data, metadata, expected_versions, checked.ids, occurred_ats, requests,
                       codes, messages, checked.new_totals, checked.completeds) AS each;
    RETURN answer;
  END IF;

  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  head_position := coalesce(head_position, 0);
  head_recorded := greatest(clock_timestamp(), head_recorded);
  SELECT array_agg(head_versions[e.stream] + e.place), array_agg(coalesce(e.total, head_totals[e.stream]))
    INTO answer.versions, checked.totals
    FROM unnest(checked.streams, checked.places, checked.totals) AS e (stream, place, total);
  INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  SELECT head_position + e.ordinal, e.id, e.job, e.version, e.type, e.document, coalesce(e.context, '{}'), e.occurred_at, head_recorded,
         e.total, e.completed
    FROM unnest(jobs, types, checked.documents, checked.contexts, occurred_ats, checked.ids, answer.versions, checked.totals, checked.completeds)
           WITH ORDINALITY AS e (job, type, document, context, occurred_at, id, version, total, completed, ordinal);
  answer.first_position := head_position + 1;
  answer.event_ids := checked.ids;
  RETURN answer;
END
$$;

-- Appends events of many jobs, given as parallel arrays; every array but the first three may be null or short, and what is
-- missing is null. Events with the same number in `requests`, next to each other and of one job, are written together or not
-- at all; without a number each stands for itself. A refused request changes nothing and holds up no other.
-- `expected_versions` counts for a request's first event; 0 means that the job must not exist.
-- There is one answer an event, in order. No refusal raises an error; only a broken call does.
CREATE FUNCTION append(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[]        DEFAULT null,
  expected_versions integer[]     DEFAULT null,
  event_ids         uuid[]        DEFAULT null,
  occurred_ats      timestamptz[] DEFAULT null,
  requests          integer[]     DEFAULT null
) RETURNS SETOF append_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  answer CONSTANT batch_answer := append_batch(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, requests);
BEGIN
  IF answer.answers IS NOT NULL THEN
    RETURN QUERY SELECT * FROM unnest(answer.answers);
  ELSIF answer.versions IS NOT NULL THEN
    RETURN QUERY
      SELECT e.ordinal::integer, answer.first_position + e.ordinal - 1, e.version, e.id, false, null::text, null::text
        FROM unnest(answer.versions, answer.event_ids) WITH ORDINALITY AS e (version, id, ordinal);
  END IF;
END
$$;

-- Appends one event, for SQL in any language. A refusal is an error with a SQLSTATE of its own:
--   JL001 unknown_job   JL002 already_queued   JL003 already_ended   JL004 version_conflict
--   JL005 event_id_conflict   JL006 invalid_event   JL007 too_large
-- expected_version 0 means that the job must not exist yet. In a transaction of yours the event commits with your rows or not
-- at all; commit soon, for other appenders wait (5 s idle or in one statement, and the transaction is ended).
CREATE FUNCTION append_event(
  job_id           text,
  type             text,
  data             json        DEFAULT '{}',
  metadata         json        DEFAULT '{}',
  expected_version integer     DEFAULT null,
  event_id         uuid        DEFAULT null,
  occurred_at      timestamptz DEFAULT null
) RETURNS appended
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  batch  CONSTANT batch_answer := append_single(job_id, type, data::text, metadata::text, expected_version, event_id, occurred_at);
  answer append_answer;
BEGIN
  IF batch.answers IS NULL THEN
    RETURN (batch.first_position, batch.versions[1], batch.event_ids[1], false)::appended;
  END IF;
  answer := batch.answers[1];
  IF answer.code IS NULL THEN
    RETURN (answer.position, answer.version, answer.event_id, answer.duplicate)::appended;
  END IF;
  RAISE EXCEPTION '%: %', answer.code, answer.message
    USING ERRCODE = CASE answer.code
      WHEN 'unknown_job'       THEN 'JL001'
      WHEN 'already_queued'    THEN 'JL002'
      WHEN 'already_ended'     THEN 'JL003'
      WHEN 'version_conflict'  THEN 'JL004'
      WHEN 'event_id_conflict' THEN 'JL005'
      WHEN 'invalid_event'     THEN 'JL006'
      WHEN 'too_large'         THEN 'JL007'
    END;
END
$$;

-- An appender can append, in three ways, and nothing else.
REVOKE ALL ON FUNCTION
  append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
  append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint),
  append_event(text, text, json, json, integer, uuid, timestamptz),
  append_single(text, text, text, text, integer, uuid, timestamptz)
FROM PUBLIC;

DO $$
DECLARE
  appender CONSTANT text := current_schema() || '_appender';
BEGIN
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION
       append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
       append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint),
       append_event(text, text, json, json, integer, uuid, timestamptz),
       forget_turns(text) TO %I', appender);
  EXECUTE format(
    'REVOKE ALL ON FUNCTION
       append_before_sets(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
       append_event_before_sets(text, text, json, json, integer, uuid, timestamptz) FROM %I', appender);
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz);
DROP FUNCTION append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]);
DROP FUNCTION append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint);
DROP FUNCTION append_single(text, text, text, text, integer, uuid, timestamptz);

ALTER FUNCTION append_before_sets(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]) RENAME TO append;
ALTER FUNCTION append_event_before_sets(text, text, json, json, integer, uuid, timestamptz) RENAME TO append_event;
DO $$
BEGIN
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION
       append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
       append_event(text, text, json, json, integer, uuid, timestamptz) TO %I', current_schema() || '_appender');
END
$$;
