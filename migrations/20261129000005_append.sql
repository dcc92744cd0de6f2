-- How events come in. SQL callers use append_event() for one event and append() for many; the
-- service calls append_batch() and append_to_distinct_jobs(), which answer more compactly.
--
-- Which path a call takes. One event: append_one(), without the cost of set operations. A batch of
-- which every event belongs to another job, as a group of concurrent callers makes it:
-- append_to_distinct_jobs(), one statement for heads, checks and insert, because no event depends
-- on another. Any other batch: append_batch(), in sets, with one probe of the index for each job.
-- These three paths take only what is *plain*: well-formed events, all new, each of which may
-- follow the last event of its job. That holds for nearly all batches and is known without a reason
-- for each event. Any other batch goes to append_one_by_one(), which decides event by event and
-- says why. It is several times slower, and the rules are the same: a test sends random batches
-- both ways.
--
-- What depends on the event alone is checked before the log is locked; what depends on the log,
-- after that. From the lock to the commit nobody else can append.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Only the transaction that has locked this empty table numbers events. It is a table and not an
-- advisory lock, because only its owner can lock it.
CREATE TABLE serialiser ();

-- The answer for one event of append().
CREATE TYPE append_answer AS (
  ordinal   integer,   -- the event's place in the call, from 1
  position  bigint,    -- null where refused
  version   integer,
  event_id  uuid,
  duplicate boolean,   -- it was in the log already
  code      text,      -- of the refusal, null where there is none
  message   text
);

-- The answer of append_event().
CREATE TYPE appended AS (
  position  bigint,
  version   integer,
  event_id  uuid,
  duplicate boolean
);

-- The answer for a batch. Where all of it was appended on a plain path, `answers` is null, and
-- positions are consecutive from the first.
CREATE TYPE batch_answer AS (
  first_position bigint,
  versions       integer[],
  event_ids      uuid[],
  answers        append_answer[]
);

-- What check_batch() finds out about a batch before the log is locked.
CREATE TYPE checked_batch AS (
  is_plain           boolean,
  -- By ordinal, the event's place in the call.
  ids                uuid[],
  documents          json[],
  contexts           json[],
  streams            integer[],  -- the number of the event's job within the call
  places             integer[],  -- the event's place among the events of its job
  new_totals         integer[],  -- the total that the event sets, null where it sets none
  totals             integer[],  -- the total known after the event, null where only the log knows it
  completeds         integer[],
  -- By number of the job.
  stream_jobs        text[],
  stream_first_types text[],     -- the type of its first event
  stream_expected    integer[],  -- the version at which its events expect it, null where they expect none
  stream_completeds  integer[]   -- the most that is completed while only the log knows the total
);

-- What check_distinct_jobs() finds out, by ordinal.
CREATE TYPE checked_events AS (
  is_plain   boolean,
  completeds integer[],
  totals     integer[]  -- that the events set; null where none does
);

-- Appends one event, for SQL in any language. A refusal is an error with a SQLSTATE of its own:
--   JL001 unknown_job   JL002 already_queued   JL003 already_ended   JL004 version_conflict
--   JL005 event_id_conflict   JL006 invalid_event   JL007 too_large
-- expected_version 0 means that the job must not exist yet. In your own transaction the event
-- commits with your rows or not at all. Commit soon, because other appenders wait: a session that
-- stays idle, or runs one statement, for 5 s after the append is ended, and its transaction with
-- it.
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
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off
-- Roles may have it off, and would read the backslashes of functions called from here otherwise.
SET standard_conforming_strings = on AS $$
DECLARE
  batch  CONSTANT batch_answer := append_one(
    job_id, type, data::text, metadata::text, expected_version, event_id, occurred_at);
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

-- Appends events of many jobs, given as parallel arrays. Every array but the first three may be
-- null or short; what is missing is null. Events with the same number in `requests` must stand side
-- by side and be of one job; they are appended together or not at all. Without a number each event
-- is a request of its own. A refused request changes nothing and does not affect others.
-- `expected_versions` counts for the first event of a request; 0 means that the job must not exist.
-- Returns one answer for each event, in order. A refusal is an answer, not an error.
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
  answer CONSTANT batch_answer := append_batch(
    jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, requests);
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

-- Appends a batch as append() does. With `appender` and `turn`, batches of one appender are
-- appended in the order of their turns: see await_turn().
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
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off
SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
  batch         CONSTANT integer := cardinality(jobs);
  checked       checked_batch;
  codes         text[];
  messages      text[];
  head_versions integer[];  -- by number of the job
  head_totals   integer[];
  last          record;
  positions     bigint[];
  answer        batch_answer;
BEGIN
  IF batch IS NULL OR batch = 0 THEN
    IF turn IS NOT NULL THEN
      PERFORM await_turn(appender, turn);
      PERFORM end_turn(appender, turn);
    END IF;
    RETURN null;
  END IF;
  -- One expression: Postgres prepares each anew in each transaction.
  IF (batch <= longest_batch() AND cardinality(types) = batch AND cardinality(data) = batch
      AND concat(array_ndims(jobs), array_ndims(types), array_ndims(data), array_ndims(metadata),
                 array_ndims(expected_versions), array_ndims(event_ids), array_ndims(occurred_ats),
                 array_ndims(requests),
                 array_lower(jobs, 1), array_lower(types, 1), array_lower(data, 1), array_lower(metadata, 1),
                 array_lower(expected_versions, 1), array_lower(event_ids, 1), array_lower(occurred_ats, 1),
                 array_lower(requests, 1)) !~ '[^1]') IS NOT TRUE
  THEN
    PERFORM refuse_arguments(jobs, types, data);
  END IF;
  IF batch = 1 AND turn IS NULL THEN
    RETURN append_one(jobs[1], types[1], data[1], metadata[1], expected_versions[1], event_ids[1], occurred_ats[1]);
  END IF;

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
           LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, '{}'), e.occurred_at,
                               e.expected_version) AS finding
     WHERE e.ordinal <= batch;
  END IF;

  IF turn IS NOT NULL THEN
    -- Before the log is locked, so that nobody else waits for this row. It counts once this is
    -- committed.
    PERFORM await_turn(appender, turn);
    PERFORM end_turn(appender, turn);
  END IF;
  PERFORM lock_log();

  IF checked.is_plain THEN
    -- One probe of an index for each job: may its first event follow the last one in the log, and
    -- does the log's total allow what all of them report as completed? And one probe for each event
    -- id.
    SELECT bool_and(may_append(s.first_type, s.expected, s.completed, head.total, head.version, head.type)),
           array_agg(coalesce(head.version, 0) ORDER BY s.stream),
           array_agg(coalesce(head.total, 0) ORDER BY s.stream)
      INTO checked.is_plain, head_versions, head_totals
      FROM unnest(checked.stream_jobs, checked.stream_first_types, checked.stream_expected, checked.stream_completeds)
             WITH ORDINALITY AS s (job, first_type, expected, completed, stream)
      LEFT JOIN LATERAL (
        SELECT e.version, e.total, e.type FROM events AS e
         WHERE e.stream_id = s.job AND e.category IS NOT DISTINCT FROM 'job'
         ORDER BY e.version DESC LIMIT 1) AS head ON true;
    checked.is_plain := checked.is_plain AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = ANY (checked.ids));
  END IF;

  IF NOT checked.is_plain THEN
    SELECT array_agg(each) INTO answer.answers
      FROM append_one_by_one(jobs, types, data, metadata, expected_versions, checked.ids, occurred_ats, requests,
                             codes, messages, checked.new_totals, checked.completeds) AS each;
    RETURN answer;
  END IF;

  last := last_event();
  SELECT array_agg(last.head + e.ordinal), array_agg(head_versions[e.stream] + e.place),
         array_agg(coalesce(e.total, head_totals[e.stream]))
    INTO positions, answer.versions, checked.totals
    FROM unnest(checked.streams, checked.places, checked.totals) WITH ORDINALITY AS e (stream, place, total, ordinal);
  PERFORM write_events(positions, checked.ids, jobs, answer.versions, types, checked.documents, checked.contexts,
                       occurred_ats, greatest(clock_timestamp(), last.recorded_at), null,
                       checked.totals, checked.completeds);
  answer.first_position := positions[1];
  answer.event_ids := checked.ids;
  RETURN answer;
END
$$;

-- Appends a batch in which no job comes twice, as append_batch() does, to which it gives all that
-- is not plain. `event_ids` must be complete.
--
-- `known_versions` may say for each event a version that its job has reached. To find the last
-- version of a job, Postgres reads all of the job's entries on a page of the index; from a version
-- close by, it reads a few. A wrong one costs time and changes nothing.
CREATE FUNCTION append_to_distinct_jobs(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[],
  expected_versions integer[],
  event_ids         uuid[],
  occurred_ats      timestamptz[],
  known_versions    integer[],
  appender          text   DEFAULT null,
  turn              bigint DEFAULT null
) RETURNS batch_answer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off
SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
  checked CONSTANT checked_events := check_distinct_jobs(
    jobs, types, data, metadata, expected_versions, event_ids, occurred_ats);
  answer  batch_answer;
BEGIN
  IF checked.is_plain IS NOT TRUE THEN
    RETURN append_batch(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, null, appender, turn);
  END IF;
  IF turn IS NOT NULL THEN
    PERFORM await_turn(appender, turn);
  END IF;
  PERFORM lock_log();
  IF turn IS NOT NULL THEN
    PERFORM end_turn(appender, turn);
  END IF;

  WITH head AS MATERIALIZED (
    SELECT coalesce(max(e.position), 0) AS position, greatest(clock_timestamp(), max(e.recorded_at)) AS recorded_at
      FROM (SELECT e.position, e.recorded_at FROM events AS e ORDER BY e.position DESC LIMIT 1) AS e
  ),
  event AS MATERIALIZED (
    SELECT e.ordinal, e.job, e.type, e.data, e.metadata, e.id, e.moment, e.completed,
           coalesce(last.version, 0) + 1 AS version, coalesce(e.new_total, last.total, 0) AS total,
           may_append(e.type, e.expected, e.completed, coalesce(e.new_total, last.total),
                      last.version, last.type) AS fits
      FROM unnest(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats,
                  checked.completeds, checked.totals, known_versions)
             WITH ORDINALITY AS e (job, type, data, metadata, expected, id, moment,
                                   completed, new_total, known, ordinal)
      LEFT JOIN LATERAL (
        SELECT h.version, h.total, h.type FROM events AS h
         WHERE h.stream_id = e.job AND h.version >= CASE WHEN e.type = 'queued' THEN 1 ELSE coalesce(e.known, 1) END
           AND h.category IS NOT DISTINCT FROM 'job'
         ORDER BY h.version DESC LIMIT 1) AS last ON true
  ),
  verdict AS MATERIALIZED (
    SELECT bool_and(event.fits) AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = ANY (event_ids)) AS fits,
           array_agg(event.version) AS versions
      FROM event
  ),
  written AS (
    INSERT INTO events (
      position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
    SELECT head.position + e.ordinal, e.id, e.job, e.version, e.type, e.data::json,
           coalesce(e.metadata, '{}')::json, e.moment, head.recorded_at, e.total, e.completed
      FROM event AS e, head
     WHERE (SELECT verdict.fits FROM verdict)
  )
  SELECT head.position + 1, verdict.versions, event_ids
    INTO answer.first_position, answer.versions, answer.event_ids
    FROM verdict, head
   WHERE verdict.fits;
  IF NOT found THEN
    RETURN append_batch(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats);
  END IF;
  RETURN answer;
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION
  append_to_distinct_jobs(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint),
  append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint),
  append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
  append_event(text, text, json, json, integer, uuid, timestamptz);
DROP TYPE checked_events, checked_batch, batch_answer, appended, append_answer;
DROP TABLE serialiser;
