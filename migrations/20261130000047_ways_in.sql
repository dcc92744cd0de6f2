-- The ways into the log take a category: append_event(), append(), append_batch(), the procedure
-- append_and_confirm(), and import. Jobs go the same paths as before, and find their last event by
-- the index that now has the category before the version.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint, integer, boolean);
DROP FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz);
DROP FUNCTION append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]);
DROP FUNCTION append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint);

-- Appends one event, for SQL in any language. `job_id` is the id of a stream of the category, which
-- is job unless another one is named. A refusal is an error with a SQLSTATE of its own:
--   JL001 unknown_job   JL002 already_queued   JL003 already_ended   JL004 version_conflict
--   JL005 event_id_conflict   JL006 invalid_event   JL007 too_large
--   JL008 not_unique   JL009 unknown_reference   JL010 invalid_transition
-- The first three are of any category: the stream has no events yet, it has some, it has ended.
-- expected_version 0 means that the stream must not exist yet. In your own transaction the event
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
  occurred_at      timestamptz DEFAULT null,
  category         text        DEFAULT 'job'
) RETURNS appended
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off
-- Roles may have it off, and would read the backslashes of functions called from here otherwise.
SET standard_conforming_strings = on AS $$
DECLARE
  batch  CONSTANT batch_answer := CASE
    WHEN coalesce(category, 'job') = 'job'
      THEN append_one(job_id, type, data::text, metadata::text, expected_version, event_id, occurred_at)
    ELSE append_one_to_stream(category, job_id, type, data::text, metadata::text, expected_version, event_id,
                              occurred_at)
  END;
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
      WHEN 'unknown_job'        THEN 'JL001'
      WHEN 'already_queued'     THEN 'JL002'
      WHEN 'already_ended'      THEN 'JL003'
      WHEN 'version_conflict'   THEN 'JL004'
      WHEN 'event_id_conflict'  THEN 'JL005'
      WHEN 'invalid_event'      THEN 'JL006'
      WHEN 'too_large'          THEN 'JL007'
      WHEN 'not_unique'         THEN 'JL008'
      WHEN 'unknown_reference'  THEN 'JL009'
      WHEN 'invalid_transition' THEN 'JL010'
    END;
END
$$;

-- Appends events of many streams, given as parallel arrays. Every array but the first three may be
-- null or short; what is missing is null. `jobs` are ids of streams, of the categories beside them:
-- of jobs, where there are none. Events with the same number in `requests` must stand side by side
-- and be of one stream; they are appended together or not at all. Without a number each event is a
-- request of its own. A refused request changes nothing and does not affect others.
-- `expected_versions` counts for the first event of a request; 0 means that the stream must not
-- exist. Returns one answer for each event, in order. A refusal is an answer, not an error.
CREATE FUNCTION append(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[]        DEFAULT null,
  expected_versions integer[]     DEFAULT null,
  event_ids         uuid[]        DEFAULT null,
  occurred_ats      timestamptz[] DEFAULT null,
  requests          integer[]     DEFAULT null,
  categories        text[]        DEFAULT null
) RETURNS SETOF append_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  answer CONSTANT batch_answer := append_batch(
    jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, requests, null, null, categories);
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
  turn              bigint        DEFAULT null,
  categories        text[]        DEFAULT null
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
                 array_ndims(requests), array_ndims(categories),
                 array_lower(jobs, 1), array_lower(types, 1), array_lower(data, 1), array_lower(metadata, 1),
                 array_lower(expected_versions, 1), array_lower(event_ids, 1), array_lower(occurred_ats, 1),
                 array_lower(requests, 1), array_lower(categories, 1)) !~ '[^1]') IS NOT TRUE
  THEN
    PERFORM refuse_arguments(jobs, types, data);
  END IF;
  -- Two conditions, so that a call without categories runs no query for them.
  IF categories IS NOT NULL THEN
    IF EXISTS (SELECT FROM unnest(categories[:batch]) AS category WHERE category <> 'job') THEN
      RETURN append_to_streams(categories, jobs, types, data, metadata, expected_versions, event_ids, occurred_ats,
                               requests, appender, turn);
    END IF;
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
         WHERE e.stream_id = s.job AND e.category = 'job'
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

-- A procedure that commits can set neither a search path nor the owner's rights. So its text names
-- the schema, and an appender has the right to all that it calls.
DO $do$
BEGIN
  EXECUTE format($definition$
-- Appends one event as append_event() does, commits it, and returns once it has the level that the
-- ledger demands. It is a transaction of its own: within another one it fails (2D000).
--
-- In a ledger that demands quorum it commits on this server's disk, which gives the next appender
-- the log. Then it waits for the standbys in a second transaction, whose WAL is behind the event's.
-- One session does both, so the standbys are those of the server that has written. In other ledgers
-- it commits as the session's settings say, and does not give the log away before: readers there do
-- not ask for standbys, and would pass on what a failover may take back.
--
-- A refusal is one of append_event(), and nothing is written. After any other error, and after the
-- warning that the wait for standbys was cancelled, the event may be written, and a failover may
-- lose it. The same call with the same event_id settles that: it waits again.
--
-- A session reads changed settings between statements only. So the procedure cannot see that
-- somebody has emptied synchronous_standby_names, which ends its wait. require_standbys(), as the
-- next statement, can.
CREATE PROCEDURE append_and_confirm(
  job_id           text,
  type             text,
  data             json        DEFAULT '{}',
  metadata         json        DEFAULT '{}',
  expected_version integer     DEFAULT null,
  INOUT event_id   uuid        DEFAULT null,
  occurred_at      timestamptz DEFAULT null,
  INOUT "position" bigint      DEFAULT null,
  INOUT version    integer     DEFAULT null,
  INOUT duplicate  boolean     DEFAULT null,
  category         text        DEFAULT 'job'
)
LANGUAGE plpgsql AS $$
BEGIN
  IF %1$I.demanded_durability() = 'quorum' THEN
    PERFORM %1$I.confirm_afterwards();
  END IF;
  SELECT appended.position, appended.version, appended.event_id, appended.duplicate
    INTO "position", version, event_id, duplicate
    FROM %1$I.append_event(job_id, type, data, metadata, expected_version, event_id, occurred_at, category)
      AS appended;
  COMMIT;
  PERFORM %1$I.durable_position();
  COMMIT;
END
$$;
$definition$, current_schema());
END
$do$;

-- As before, by an index that has the category before the version.
CREATE OR REPLACE FUNCTION append_one(
  job text, type text, data text, metadata text, expected_version integer, event_id uuid, occurred_at timestamptz
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  id       CONSTANT uuid := coalesce(event_id, uuid_v7());
  value    jsonb;
  finding  quick_finding;
  is_plain boolean;
  refusal  record;
  codes    text[];
  messages text[];
  head     record;
  last     record;
  answer   batch_answer;
BEGIN
  BEGIN
    IF octet_length(data) <= longest_data() THEN
      value := data::jsonb;
      finding := CASE
        WHEN is_mere_progress(type, value) THEN (true, null, (value -> 'completed')::integer)::quick_finding
        ELSE quick_check(type, value)
      END;
    END IF;
    is_plain := coalesce(
      finding.is_plain AND is_stream_id(job) AND is_event_time(occurred_at) IS NOT FALSE
        AND (expected_version >= 0) IS NOT FALSE AND is_plain_metadata(metadata), false);
  EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    is_plain := false;
  END;
  IF NOT is_plain THEN
    refusal := check_event(job, type, coalesce(data, 'null'), coalesce(metadata, '{}'), occurred_at, expected_version);
    finding := (false, refusal.total, refusal.completed);
    codes := ARRAY[refusal.code];
    messages := ARRAY[refusal.message];
  END IF;

  PERFORM lock_log();

  IF is_plain THEN
    SELECT e.version, coalesce(finding.total, e.total) AS total, e.type INTO head
      FROM events AS e
     WHERE e.stream_id = job AND e.category = 'job'
     ORDER BY e.version DESC LIMIT 1;
    is_plain := may_append(type, expected_version, finding.completed, head.total, head.version, head.type)
      AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = id);
  END IF;
  IF NOT is_plain THEN
    SELECT array_agg(each) INTO answer.answers
      FROM append_one_by_one(ARRAY[job], ARRAY[type], ARRAY[data], ARRAY[metadata], ARRAY[expected_version],
                             ARRAY[id], ARRAY[occurred_at], null, codes, messages,
                             ARRAY[finding.total], ARRAY[finding.completed]) AS each;
    RETURN answer;
  END IF;

  SELECT e.position, e.recorded_at INTO last FROM events AS e ORDER BY e.position DESC LIMIT 1;
  INSERT INTO events (
    position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  VALUES (coalesce(last.position, 0) + 1, id, job, coalesce(head.version, 0) + 1, type,
          data::json, coalesce(metadata, '{}')::json, occurred_at, greatest(clock_timestamp(), last.recorded_at),
          coalesce(head.total, finding.total, 0), finding.completed);
  RETURN (coalesce(last.position, 0) + 1, ARRAY[coalesce(head.version, 0) + 1], ARRAY[id], null)::batch_answer;
END
$$;

-- As before, by an index that has the category before the version.
CREATE OR REPLACE FUNCTION append_to_distinct_jobs(
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
           AND h.category = 'job'
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

DROP FUNCTION history(text);

-- The events of one stream, oldest first: of a job, unless another category is named.
CREATE FUNCTION history(job_id text, category text DEFAULT 'job') RETURNS SETOF events
LANGUAGE sql STABLE ROWS 100 SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT * FROM events AS e WHERE e.category = history.category AND e.stream_id = job_id ORDER BY e.version;
END;

-- Takes in events of any categories, one by one. The log is locked. Returns the position of the
-- first that is wrong, and why; null where none is, and then all are written.
CREATE FUNCTION import_each(
  positions bigint[], ids uuid[], categories text[], streams text[], versions integer[], types text[], data text[],
  metadata text[], occurred_ats timestamptz[], recorded_ats timestamptz[], OUT wrong_at bigint, OUT wrong text)
LANGUAGE plpgsql AS $$
DECLARE
  last    CONSTANT record := last_event();
  before  timestamptz := last.recorded_at;
  event   record;
  done    record;
  answer  append_answer;
BEGIN
  FOR event IN
    SELECT e.*, t AS rule, finding.code, finding.message, finding.total, finding.completed
      FROM unnest(positions, ids, categories, streams, versions, types, data, metadata, occurred_ats, recorded_ats)
             WITH ORDINALITY AS e (position, id, category, stream, version, type, data, metadata, occurred_at,
                                   recorded_at, ordinal)
      LEFT JOIN category_types AS t ON t.category = e.category AND t.type = e.type,
           LATERAL check_event(e.category, e.stream, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'),
                               e.occurred_at, null) AS finding
     ORDER BY e.ordinal
  LOOP
    wrong_at := last.head + event.ordinal;
    wrong := CASE
      WHEN num_nulls(event.position, event.id, event.category, event.stream, event.version, event.type, event.data,
                     event.metadata, event.recorded_at) > 0
        THEN 'it lacks one of position, event_id, category, stream_id, version, type, data, metadata, recorded_at'
      WHEN event.position <> wrong_at
        THEN format('it says position %s', event.position)
      WHEN NOT is_event_time(event.recorded_at)
        THEN format('it was recorded at %s, which is not within the years 1 to 9999', event.recorded_at)
      WHEN event.recorded_at < before
        THEN format('it was recorded at %s, earlier than the event before', event.recorded_at)
    END;
    IF wrong IS NOT NULL THEN
      RETURN;
    END IF;
    done := append_next(
      event.rule, event.category, event.stream, event.type, event.data, event.metadata, null, event.id,
      event.occurred_at, event.recorded_at, event.code, event.message, event.total, event.completed, last.head, 0);
    answer := done.answer;
    wrong := CASE
      -- A file of events says nothing of their rules.
      WHEN missing_category(event.category) IS NOT NULL
        THEN format('there is no category %s: install it first, by jobledger migrate, with --categories DIR if it is '
                    'one of your own', to_json(left(event.category, 100)))
      WHEN answer.code IS NOT NULL            THEN answer.message
      WHEN answer.duplicate                   THEN format('its event id is at position %s already', answer.position)
      WHEN answer.version <> event.version
        THEN format('it has version %s, and its %s is at version %s', event.version, event.category, answer.version - 1)
    END;
    IF wrong IS NOT NULL THEN
      RETURN;
    END IF;
    before := event.recorded_at;
  END LOOP;
  wrong_at := null;
END
$$;

-- What check_imported() finds, by ordinal.
CREATE TYPE checked_import AS (messages text[], totals integer[], completeds integer[]);

-- Takes in events of jobs, in sets. The log is locked. Returns as import_each() does.
CREATE FUNCTION import_jobs(
  positions bigint[], ids uuid[], jobs text[], versions integer[], types text[], documents text[], contexts text[],
  occurred_ats timestamptz[], recorded_ats timestamptz[], checked checked_import, OUT wrong_at bigint, OUT wrong text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  last   CONSTANT record := last_event();
  totals integer[];
BEGIN
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
      FROM unnest(positions, ids, jobs, versions, types, documents, contexts, recorded_ats,
                  checked.messages, checked.totals, checked.completeds)
             WITH ORDINALITY AS e (position, id, job, version, type, data, metadata, recorded_at,
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
  END IF;
END
$$;

-- Takes in events, each a line as exported_line() writes it. The lines continue the log, or all of
-- them are refused, with the first that is wrong. A line that the log would give back differently
-- is refused too: so whatever is in the log was in the file. Returns the new head.
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
  checked       checked_import;
  last          record;
  wrong_at      bigint;
  wrong         text;
  is_mixed      boolean;
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
  is_mixed := EXISTS (SELECT FROM unnest(categories) AS category WHERE category IS DISTINCT FROM 'job');
  IF is_mixed THEN
    LOCK TABLE category_types IN ACCESS SHARE MODE;  -- as append_to_streams() does
  ELSE
    checked := check_imported(jobs, types, documents, contexts, occurred_ats);
  END IF;

  -- Several calls may be under way, of lines that follow each other. Each is checked while the one
  -- before is written, and waits for it here.
  IF head() < positions[1] - 1 THEN
    PERFORM await_events(positions[1] - 2, '10 s');
  END IF;
  PERFORM lock_log();
  last := last_event();
  IF is_mixed THEN
    SELECT * INTO wrong_at, wrong
      FROM import_each(positions, ids, categories, jobs, versions, types, documents, contexts, occurred_ats,
                       recorded_ats);
  ELSE
    SELECT * INTO wrong_at, wrong
      FROM import_jobs(positions, ids, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats, checked);
  END IF;
  IF wrong IS NULL THEN
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

DO $$
DECLARE
  home CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  REVOKE ALL ON FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz, text),
    append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text[]),
    append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[],
         text, bigint, text[]),
    history(text, text),
    import_each(bigint[], uuid[], text[], text[], integer[], text[], text[], text[], timestamptz[], timestamptz[]),
    import_jobs(bigint[], uuid[], text[], integer[], text[], text[], text[], timestamptz[], timestamptz[],
      checked_import)
    FROM PUBLIC;
  REVOKE ALL ON PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint,
         integer, boolean, text) FROM PUBLIC;
  FOREACH statement IN ARRAY ARRAY[
    'GRANT EXECUTE ON FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz, text),
       append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text[]),
       append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[],
         text, bigint, text[]) TO :appender',
    'GRANT EXECUTE ON PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint,
         integer, boolean, text) TO :appender',
    'GRANT EXECUTE ON FUNCTION history(text, text) TO :reader, :projector']
  LOOP
    EXECUTE regexp_replace(statement, ':(\w+)', '"' || home || '_\1"', 'g');
  END LOOP;
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- What was there before.

DROP PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint, integer, boolean, text);
DROP FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz, text),
  append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text[]),
  append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint, text[]),
  history(text, text),
  import_each(bigint[], uuid[], text[], text[], integer[], text[], text[], text[], timestamptz[], timestamptz[]),
  import_jobs(bigint[], uuid[], text[], integer[], text[], text[], text[], timestamptz[], timestamptz[],
    checked_import);
DROP TYPE checked_import;

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

CREATE OR REPLACE FUNCTION append_to_distinct_jobs(
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

CREATE OR REPLACE FUNCTION append_one(
  job text, type text, data text, metadata text, expected_version integer, event_id uuid, occurred_at timestamptz
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  id       CONSTANT uuid := coalesce(event_id, uuid_v7());
  value    jsonb;
  finding  quick_finding;
  is_plain boolean;
  refusal  record;
  codes    text[];
  messages text[];
  head     record;
  last     record;
  answer   batch_answer;
BEGIN
  BEGIN
    IF octet_length(data) <= longest_data() THEN
      value := data::jsonb;
      finding := CASE
        WHEN is_mere_progress(type, value) THEN (true, null, (value -> 'completed')::integer)::quick_finding
        ELSE quick_check(type, value)
      END;
    END IF;
    is_plain := coalesce(
      finding.is_plain AND is_stream_id(job) AND is_event_time(occurred_at) IS NOT FALSE
        AND (expected_version >= 0) IS NOT FALSE AND is_plain_metadata(metadata), false);
  EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    is_plain := false;
  END;
  IF NOT is_plain THEN
    refusal := check_event(job, type, coalesce(data, 'null'), coalesce(metadata, '{}'), occurred_at, expected_version);
    finding := (false, refusal.total, refusal.completed);
    codes := ARRAY[refusal.code];
    messages := ARRAY[refusal.message];
  END IF;

  PERFORM lock_log();

  IF is_plain THEN
    SELECT e.version, coalesce(finding.total, e.total) AS total, e.type INTO head
      FROM events AS e
     WHERE e.stream_id = job AND e.category IS NOT DISTINCT FROM 'job'
     ORDER BY e.version DESC LIMIT 1;
    is_plain := may_append(type, expected_version, finding.completed, head.total, head.version, head.type)
      AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = id);
  END IF;
  IF NOT is_plain THEN
    SELECT array_agg(each) INTO answer.answers
      FROM append_one_by_one(ARRAY[job], ARRAY[type], ARRAY[data], ARRAY[metadata], ARRAY[expected_version],
                             ARRAY[id], ARRAY[occurred_at], null, codes, messages,
                             ARRAY[finding.total], ARRAY[finding.completed]) AS each;
    RETURN answer;
  END IF;

  SELECT e.position, e.recorded_at INTO last FROM events AS e ORDER BY e.position DESC LIMIT 1;
  INSERT INTO events (
    position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  VALUES (coalesce(last.position, 0) + 1, id, job, coalesce(head.version, 0) + 1, type,
          data::json, coalesce(metadata, '{}')::json, occurred_at, greatest(clock_timestamp(), last.recorded_at),
          coalesce(head.total, finding.total, 0), finding.completed);
  RETURN (coalesce(last.position, 0) + 1, ARRAY[coalesce(head.version, 0) + 1], ARRAY[id], null)::batch_answer;
END
$$;

DO $do$
BEGIN
  EXECUTE format($definition$
-- Appends one event as append_event() does, commits it, and returns once it has the level that the
-- ledger demands. It is a transaction of its own: within another one it fails (2D000).
--
-- In a ledger that demands quorum it commits on this server's disk, which gives the next appender
-- the log. Then it waits for the standbys in a second transaction, whose WAL is behind the event's.
-- One session does both, so the standbys are those of the server that has written. In other ledgers
-- it commits as the session's settings say, and does not give the log away before: readers there do
-- not ask for standbys, and would pass on what a failover may take back.
--
-- A refusal is one of append_event(), and nothing is written. After any other error, and after the
-- warning that the wait for standbys was cancelled, the event may be written, and a failover may
-- lose it. The same call with the same event_id settles that: it waits again.
--
-- A session reads changed settings between statements only. So the procedure cannot see that
-- somebody has emptied synchronous_standby_names, which ends its wait. require_standbys(), as the
-- next statement, can.
CREATE PROCEDURE append_and_confirm(
  job_id           text,
  type             text,
  data             json        DEFAULT '{}',
  metadata         json        DEFAULT '{}',
  expected_version integer     DEFAULT null,
  INOUT event_id   uuid        DEFAULT null,
  occurred_at      timestamptz DEFAULT null,
  INOUT "position" bigint      DEFAULT null,
  INOUT version    integer     DEFAULT null,
  INOUT duplicate  boolean     DEFAULT null
)
LANGUAGE plpgsql AS $$
BEGIN
  IF %1$I.demanded_durability() = 'quorum' THEN
    PERFORM %1$I.confirm_afterwards();
  END IF;
  SELECT appended.position, appended.version, appended.event_id, appended.duplicate
    INTO "position", version, event_id, duplicate
    FROM %1$I.append_event(job_id, type, data, metadata, expected_version, event_id, occurred_at) AS appended;
  COMMIT;
  PERFORM %1$I.durable_position();
  COMMIT;
END
$$;
$definition$, current_schema());
END
$do$;

CREATE FUNCTION history(job_id text) RETURNS SETOF events
LANGUAGE sql STABLE ROWS 100 SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT * FROM events WHERE category = 'job' AND stream_id = job_id ORDER BY version;
END;

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

DO $$
DECLARE
  home CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  REVOKE ALL ON FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz),
    append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
    append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[],
         text, bigint),
    history(text) FROM PUBLIC;
  REVOKE ALL ON PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint,
         integer, boolean) FROM PUBLIC;
  FOREACH statement IN ARRAY ARRAY[
    'GRANT EXECUTE ON FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz),
       append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
       append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[],
         text, bigint) TO :appender',
    'GRANT EXECUTE ON PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint,
         integer, boolean) TO :appender',
    'GRANT EXECUTE ON FUNCTION history(text) TO :reader, :projector']
  LOOP
    EXECUTE regexp_replace(statement, ':(\w+)', '"' || home || '_\1"', 'g');
  END LOOP;
END
$$;

SELECT hand_over();
