-- The one way into the log.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TYPE append_answer AS (
  ordinal   integer,   -- the event's place in the call, from 1
  position  bigint,    -- null where refused
  version   integer,
  event_id  uuid,
  duplicate boolean,   -- it was in the log already
  code      text,      -- the refusal, null where there is none
  message   text
);

-- Whoever holds the lock on this empty table numbers events. A table, not an advisory lock: only its owner can take it.
CREATE TABLE serialiser ();

-- Waits for the right to number events. Whoever has it keeps it until the transaction ends, so positions become visible in
-- their order and an aborted transaction leaves no gap. It must be a statement of its own: the next one then sees all that
-- was committed before.
CREATE FUNCTION take_serialiser() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '10s' AS $$
BEGIN
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the log locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
END
$$;

-- A caller that appends in a transaction of its own holds everybody up until it commits. After the statement that appended it may
-- be idle, or run one statement, for this long; then Postgres ends it, and its events with it.
CREATE FUNCTION bound_dawdling() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  bound CONSTANT interval := '5 s';
  name text;
BEGIN
  FOREACH name IN ARRAY '{idle_in_transaction_session_timeout,statement_timeout}'::text[] LOOP
    IF current_setting(name) = '0' OR current_setting(name)::interval > bound THEN
      PERFORM set_config(name, (extract(epoch FROM bound) * 1000)::integer::text, true);
    END IF;
  END LOOP;
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
#variable_conflict use_column
DECLARE
  batch           CONSTANT integer := cardinality(jobs);
  longest_batch   CONSTANT integer := 10000;
  largest_compare CONSTANT integer := 8 * 1024 * 1024;

  -- By ordinal: what the event asks for and what it is answered.
  ids             uuid[];
  codes           text[];
  messages        text[];
  totals          integer[];     -- the total that the event sets, then the one known after it
  completeds      integer[];
  positions       bigint[]  := array_fill(null::bigint, ARRAY[batch]);
  versions        integer[] := array_fill(null::integer, ARRAY[batch]);
  duplicates      boolean[] := array_fill(false, ARRAY[batch]);
  accepted        boolean[] := array_fill(false, ARRAY[batch]);

  -- By job, numbered within the call: where its stream stands.
  stream_versions integer[] := array_fill(null::integer, ARRAY[batch]);
  stream_totals   integer[] := array_fill(null::integer, ARRAY[batch]);
  stream_ended    boolean[] := array_fill(null::boolean, ARRAY[batch]);
  -- By event id, numbered within the call: the ordinal that was accepted under it; and each ordinal's number.
  accepted_as     integer[] := array_fill(null::integer, ARRAY[batch]);
  id_numbers      integer[] := array_fill(null::integer, ARRAY[batch]);

  head_position   bigint;
  head_recorded   timestamptz;
  now_recorded    timestamptz;
  next_position   bigint;

  event           record;
  request         bigint := null;
  request_start   integer;
  request_stream  integer;
  request_refused boolean;
  before_position bigint;
  before_version  integer;
  before_total    integer;
  before_ended    boolean;
  other           integer;
  refusal         text;
  reason          text;
BEGIN
  IF batch IS NULL OR batch = 0 THEN
    RETURN;
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
  ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
    -- Its snapshot may be older than the last events, and could only number them twice.
    RAISE EXCEPTION 'append works in READ COMMITTED transactions, not in %', upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'active_sql_transaction', HINT = 'Begin with BEGIN ISOLATION LEVEL READ COMMITTED.';
  END IF;

  -- What can be done before the log is locked.
  SELECT array_agg(coalesce(e.id, uuid_v7()) ORDER BY e.ordinal),
         array_agg(finding.code ORDER BY e.ordinal),
         array_agg(finding.message ORDER BY e.ordinal),
         array_agg(finding.total ORDER BY e.ordinal),
         array_agg(finding.completed ORDER BY e.ordinal)
    INTO ids, codes, messages, totals, completeds
    FROM unnest(jobs, types, data, metadata, occurred_ats, expected_versions, event_ids)
           WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, id, ordinal),
         LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, '{}'), e.occurred_at, e.expected_version) AS finding
   WHERE e.ordinal <= batch;

  PERFORM take_serialiser();
  -- Whatever comes of the call, the lock is held from here on.
  PERFORM bound_dawdling();

  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  head_position := coalesce(head_position, 0);
  next_position := head_position + 1;
  now_recorded := greatest(clock_timestamp(), head_recorded);

  FOR event IN
    SELECT e.ordinal::integer, e.job, e.type, e.expected_version, e.occurred_at, e.data, coalesce(e.metadata, '{}') AS metadata,
           -- Without a number an event is a request of its own; theirs are beyond those of integers.
           coalesce(e.request, 4294967296 + e.ordinal) AS request,
           dense_rank() OVER (ORDER BY e.job COLLATE "C")::integer AS stream,
           dense_rank() OVER (ORDER BY e.id)::integer AS id_number,
           head.version AS head_version, head.total AS head_total, head.type IN ('finished', 'failed') AS head_ended,
           earlier.position AS earlier_position, earlier.version AS earlier_version,
           earlier.position IS NOT NULL
             AND earlier.category = 'job' AND earlier.stream_id = e.job AND earlier.type = e.type
             AND earlier.occurred_at IS NOT DISTINCT FROM e.occurred_at
             -- What is in the log is no larger; what is larger is not worth parsing here.
             AND octet_length(e.data) <= largest_compare
             AND is_same_content(earlier.data::text, e.data, earlier.metadata::text, coalesce(e.metadata, '{}')) AS is_earlier
      FROM unnest(jobs, types, data, metadata, occurred_ats, expected_versions, ids, requests)
             WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, id, request, ordinal)
      -- One probe of an index each, whatever the statistics say.
      LEFT JOIN LATERAL (SELECT * FROM events WHERE events.event_id = e.id OFFSET 0) AS earlier ON true
      LEFT JOIN LATERAL (
        SELECT events.version, events.type, events.total FROM events
         WHERE events.category = 'job' AND events.stream_id = e.job ORDER BY events.version DESC LIMIT 1) AS head ON true
     WHERE e.ordinal <= batch
     ORDER BY e.ordinal
  LOOP
    IF stream_versions[event.stream] IS NULL THEN
      stream_versions[event.stream] := coalesce(event.head_version, 0);
      stream_totals[event.stream] := coalesce(event.head_total, 0);
      stream_ended[event.stream] := coalesce(event.head_ended, false);
    END IF;
    IF request IS DISTINCT FROM event.request THEN
      request := event.request;
      request_start := event.ordinal;
      request_stream := event.stream;
      request_refused := false;
      before_position := next_position;
      before_version := stream_versions[event.stream];
      before_total := stream_totals[event.stream];
      before_ended := stream_ended[event.stream];
    END IF;
    CONTINUE WHEN request_refused;
    id_numbers[event.ordinal] := event.id_number;
    refusal := null;
    reason := null;

    -- A retry comes first: it is never refused for what has happened since.
    other := accepted_as[event.id_number];
    IF event.stream <> request_stream THEN
      refusal := 'invalid_event';
      reason := 'the events of one request belong to one job';
    ELSIF event.earlier_position IS NOT NULL THEN
      IF event.is_earlier THEN
        positions[event.ordinal] := event.earlier_position;
        versions[event.ordinal] := event.earlier_version;
        duplicates[event.ordinal] := true;
        CONTINUE;
      END IF;
      refusal := 'event_id_conflict';
      reason := format('event id %s is at position %s already, with other content', ids[event.ordinal], event.earlier_position);
    ELSIF other IS NOT NULL THEN
      IF jobs[other] = event.job AND types[other] = event.type AND occurred_ats[other] IS NOT DISTINCT FROM event.occurred_at
        AND is_same_content(data[other], event.data, coalesce(metadata[other], '{}'), event.metadata)
      THEN
        positions[event.ordinal] := positions[other];
        versions[event.ordinal] := versions[other];
        duplicates[event.ordinal] := true;
        CONTINUE;
      END IF;
      refusal := 'event_id_conflict';
      reason := format('event id %s stands in this call already, with other content', ids[event.ordinal]);

    ELSIF codes[event.ordinal] IS NOT NULL THEN
      refusal := codes[event.ordinal];
      reason := messages[event.ordinal];
    ELSIF event.type = 'queued' AND stream_versions[event.stream] > 0 THEN
      refusal := 'already_queued';
      reason := format('job %s is queued already', to_json(event.job));
    ELSIF event.type <> 'queued' AND stream_versions[event.stream] = 0 THEN
      refusal := 'unknown_job';
      reason := format('job %s has no events; the first must be queued', to_json(event.job));
    ELSIF stream_ended[event.stream] THEN
      refusal := 'already_ended';
      reason := format('job %s has ended; nothing follows an end', to_json(event.job));
    ELSIF event.ordinal = request_start AND event.expected_version <> stream_versions[event.stream] THEN
      refusal := 'version_conflict';
      reason := format('job %s is at version %s, not at %s', to_json(event.job), stream_versions[event.stream], event.expected_version);
    ELSIF completeds[event.ordinal] > coalesce(totals[event.ordinal], stream_totals[event.stream])
      AND coalesce(totals[event.ordinal], stream_totals[event.stream]) > 0
    THEN
      refusal := 'invalid_event';
      reason := format('%s of %s runs cannot be completed', completeds[event.ordinal], coalesce(totals[event.ordinal], stream_totals[event.stream]));
    END IF;

    IF refusal IS NULL THEN
      stream_versions[event.stream] := stream_versions[event.stream] + 1;
      stream_totals[event.stream] := coalesce(totals[event.ordinal], stream_totals[event.stream]);
      stream_ended[event.stream] := event.type IN ('finished', 'failed');
      positions[event.ordinal] := next_position;
      versions[event.ordinal] := stream_versions[event.stream];
      totals[event.ordinal] := stream_totals[event.stream];
      accepted[event.ordinal] := true;
      accepted_as[event.id_number] := event.ordinal;
      next_position := next_position + 1;
    ELSE
      -- The whole request is refused: what it did so far is undone.
      request_refused := true;
      next_position := before_position;
      stream_versions[request_stream] := before_version;
      stream_totals[request_stream] := before_total;
      stream_ended[request_stream] := before_ended;
      FOR undone IN request_start .. batch LOOP
        EXIT WHEN coalesce(requests[undone], 4294967296 + undone) <> request;
        IF undone < event.ordinal THEN
          reason := CASE WHEN undone = request_start THEN format('event %s of this request: %s', event.ordinal - request_start + 1, reason) ELSE reason END;
        END IF;
        codes[undone] := refusal;
        messages[undone] := reason;
        positions[undone] := null;
        versions[undone] := null;
        duplicates[undone] := false;
        accepted[undone] := false;
      END LOOP;
      -- Ids of what was undone are free again.
      FOR undone IN request_start .. event.ordinal - 1 LOOP
        IF accepted_as[id_numbers[undone]] = undone THEN
          accepted_as[id_numbers[undone]] := null;
        END IF;
      END LOOP;
    END IF;
  END LOOP;

  IF next_position > head_position + 1 THEN
    PERFORM set_config('jobledger.appending', 'on', true);
    INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total)
    SELECT e.position, e.id, e.job, e.version, e.type, e.data::json, coalesce(e.metadata, '{}')::json, e.occurred_at, now_recorded, e.total
      FROM unnest(positions, ids, jobs, versions, types, data, metadata, occurred_ats, totals, accepted)
             AS e (position, id, job, version, type, data, metadata, occurred_at, total, accepted)
     WHERE e.accepted;
    PERFORM set_config('jobledger.appending', 'off', true);
  END IF;

  RETURN QUERY
    SELECT e.ordinal::integer, e.position, e.version, e.id, e.duplicate,
           CASE WHEN e.position IS NULL THEN e.code END, CASE WHEN e.position IS NULL THEN e.message END
      FROM unnest(positions, versions, ids, duplicates, codes, messages)
             WITH ORDINALITY AS e (position, version, id, duplicate, code, message, ordinal)
     ORDER BY e.ordinal;
END
$$;

CREATE TYPE appended AS (
  position  bigint,
  version   integer,
  event_id  uuid,
  duplicate boolean
);

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
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  answer append_answer;
BEGIN
  SELECT * INTO answer
    FROM append(ARRAY[job_id], ARRAY[type], ARRAY[data::text], ARRAY[metadata::text],
                ARRAY[expected_version], ARRAY[event_id], ARRAY[occurred_at]);
  IF answer.code IS NOT NULL THEN
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
  END IF;
  RETURN (answer.position, answer.version, answer.event_id, answer.duplicate);
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION append_event(text, text, json, json, integer, uuid, timestamptz);
DROP TYPE appended;
DROP FUNCTION append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]);
DROP FUNCTION bound_dawdling();
DROP FUNCTION take_serialiser();
DROP TABLE serialiser;
DROP TYPE append_answer;
