-- Deciding event by event: the way for batches of which something is refused, or a repetition, or both.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Waits for the right to number events: take_serialiser() and bound_dawdling() in one, with fewer queries. It must be a statement of
-- its own: the next one then sees all that was committed before.
CREATE FUNCTION begin_numbering() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
  bound CONSTANT interval := '5 s';
  done  text;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    -- Its snapshot may be older than the last events, and could only number them twice.
    RAISE EXCEPTION 'append works in READ COMMITTED transactions, not in %', upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'active_sql_transaction', HINT = 'Begin with BEGIN ISOLATION LEVEL READ COMMITTED.';
  END IF;
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
  -- Whatever comes of the call, the lock is held from here on: a caller with a transaction of its own must not dawdle. One assignment,
  -- for Postgres prepares each expression anew in each transaction.
  done := concat(
    CASE WHEN current_setting('statement_timeout') = '0' OR current_setting('statement_timeout')::interval > bound
         THEN set_config('statement_timeout', '5s', true) END,
    CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
           OR current_setting('idle_in_transaction_session_timeout')::interval > bound
         THEN set_config('idle_in_transaction_session_timeout', '5s', true) END);
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the log locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
END
$$;

-- Appenders who send several batches at once but want them written in order give each a number, from 1. A batch is checked at once and
-- waits here, without holding anything, until the one before it is in the log: so one is checked while another is written. Not for
-- long: the one before may have lost its connection, and need this one.
CREATE FUNCTION await_turn(appender text, turn bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + '3 s';
BEGIN
  WHILE turn > 1 AND NOT EXISTS (SELECT FROM checkpoints WHERE reader = 'append ' || appender AND position >= turn - 1) LOOP
    IF clock_timestamp() > deadline THEN
      RAISE EXCEPTION 'batch % of % has not been appended for 3 s', turn - 1, appender
        USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
    END IF;
    PERFORM pg_sleep(0.0002);
  END LOOP;
END
$$;

-- In the transaction of the batch: whoever waits for it sees both or neither.
CREATE FUNCTION end_turn(appender text, turn bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
  INSERT INTO checkpoints AS c (reader, position) VALUES ('append ' || appender, turn)
  ON CONFLICT (reader) DO UPDATE SET position = greatest(c.position, excluded.position), updated_at = clock_timestamp();
END;

-- There are no more batches to come. What others left behind more than a day ago goes too.
CREATE FUNCTION forget_turns(appender text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  DELETE FROM checkpoints
   WHERE reader = 'append ' || appender OR reader LIKE 'append %' AND updated_at < clock_timestamp() - interval '1 day';
END;

-- Decides event by event, in order: any batch whatever, one whose events are refused, repeated, or new. The log is locked.
CREATE FUNCTION append_each(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], ids uuid[], occurred_ats timestamptz[],
  requests integer[], codes text[], messages text[], totals integer[], completeds integer[]
) RETURNS SETOF append_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch           CONSTANT integer := cardinality(jobs);
  largest_compare CONSTANT integer := 8 * 1024 * 1024;

  -- By ordinal: what the event is answered.
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
  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  -- A batch that looked plain comes without codes.
  codes := coalesce(codes, array_fill(null::text, ARRAY[batch]));
  messages := coalesce(messages, array_fill(null::text, ARRAY[batch]));
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
    INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
    SELECT e.position, e.id, e.job, e.version, e.type, e.data::json, coalesce(e.metadata, '{}')::json, e.occurred_at, now_recorded, e.total, e.completed
      FROM unnest(positions, ids, jobs, versions, types, data, metadata, occurred_ats, totals, completeds, accepted)
             AS e (position, id, job, version, type, data, metadata, occurred_at, total, completed, accepted)
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

-- What a batch is answered: where it is plain, the positions follow each other from the first; otherwise event by event.
CREATE TYPE batch_answer AS (
  first_position bigint,
  versions       integer[],
  event_ids      uuid[],
  answers        append_answer[]
);

REVOKE ALL ON FUNCTION
  append_each(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text[], text[], integer[], integer[]),
  begin_numbering(), await_turn(text, bigint), end_turn(text, bigint), forget_turns(text)
FROM PUBLIC;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP TYPE batch_answer;
DROP FUNCTION append_each(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text[], text[], integer[], integer[]);
DROP FUNCTION forget_turns(text);
DROP FUNCTION end_turn(text, bigint);
DROP FUNCTION await_turn(text, bigint);
DROP FUNCTION begin_numbering();
