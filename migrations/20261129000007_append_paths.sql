-- How events are numbered and written: the lock on the log, the order of one appender's batches,
-- the path for one event, the path that decides event by event, and the INSERT that sets and
-- imports share.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Waits for the right to number events, and keeps it until the transaction ends. So positions
-- become visible in their order, and an aborted transaction leaves no gap. Call it in a statement
-- of its own: the next one then sees all that was committed before.
CREATE FUNCTION lock_log() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
  longest CONSTANT interval := '5 s';
  done    text;
BEGIN
  -- One expression for what hardly ever is the case: Postgres prepares each one anew in each
  -- transaction.
  IF current_setting('transaction_isolation') <> 'read committed'
    OR current_setting('max_prepared_transactions') <> '0'
  THEN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      -- Its snapshot may be older than the last events, so it could only give their positions
      -- again.
      RAISE EXCEPTION 'append works in READ COMMITTED transactions, not in %',
        upper(current_setting('transaction_isolation'))
        USING ERRCODE = 'active_sql_transaction', HINT = 'Begin with BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    PERFORM forbid_prepare();
  END IF;
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
  -- From here on others wait for this transaction, which may be the caller's own. It may be idle,
  -- or run one statement, for 5 s, and its commit waits for the disk. A SET clause of this function
  -- would end with it.
  done := pg_catalog.concat(
    CASE WHEN current_setting('statement_timeout') = '0' OR current_setting('statement_timeout')::interval > longest
         THEN set_config('statement_timeout', '5s', true) END,
    CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
           OR current_setting('idle_in_transaction_session_timeout')::interval > longest
         THEN set_config('idle_in_transaction_session_timeout', '5s', true) END,
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END);
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the log locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
END
$$;

-- An appender that sends several batches at once, and wants them written in order, numbers them
-- from 1. A batch is checked at once and waits here, holding no lock, until the one before it is in
-- the log. So one is checked while another is written. It waits for 3 s at most: the one before may
-- have lost its connection.
CREATE FUNCTION await_turn(appender text, turn bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + '3 s';
BEGIN
  WHILE turn > 1
    AND NOT EXISTS (SELECT FROM checkpoints WHERE reader = 'append ' || appender AND position >= turn - 1)
  LOOP
    IF clock_timestamp() > deadline THEN
      RAISE EXCEPTION 'batch % of % has not been appended for 3 s', turn - 1, appender
        USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
    END IF;
    PERFORM pg_sleep(0.0002);
  END LOOP;
END
$$;

CREATE FUNCTION end_turn(appender text, turn bigint) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '10s' AS $$
BEGIN
  INSERT INTO checkpoints AS c (reader, position) VALUES ('append ' || appender, turn)
  ON CONFLICT (reader) DO UPDATE SET position = greatest(c.position, excluded.position), updated_at = clock_timestamp();
END
$$;

-- For an appender that has no more batches. Turns that others left behind more than a day ago go
-- too.
CREATE FUNCTION forget_turns(appender text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM checkpoints
   WHERE reader = 'append ' || appender OR reader LIKE 'append %' AND updated_at < clock_timestamp() - interval '1 day';
END
$$;

-- Where the log ends: head 0 and no time while it is empty.
CREATE FUNCTION last_event(OUT head bigint, OUT recorded_at timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
  SELECT e.position, e.recorded_at INTO head, recorded_at FROM events AS e ORDER BY e.position DESC LIMIT 1;
  head := coalesce(head, 0);
END
$$;

-- Writes events that are checked and numbered, given by ordinal; those without a position are left
-- out. All are recorded now, or each at its own time.
CREATE FUNCTION write_events(
  positions bigint[], ids uuid[], jobs text[], versions integer[], types text[], documents json[], contexts json[],
  occurred_ats timestamptz[], now timestamptz, recorded_ats timestamptz[], totals integer[], completeds integer[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO events (
    position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  SELECT e.position, e.id, e.job, e.version, e.type, e.document, coalesce(e.context, '{}'), e.occurred_at,
         coalesce(e.recorded_at, now), e.total, e.completed
    FROM unnest(positions, ids, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats,
                totals, completeds)
           AS e (position, id, job, version, type, document, context, occurred_at, recorded_at, total, completed)
   WHERE e.position IS NOT NULL;
END
$$;

-- Appends one event, by the rules of a batch but without sets, which would take longer than the
-- event itself.
CREATE FUNCTION append_one(
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

-- Where a job's stream stands while append_one_by_one() works: null while it has no events.
CREATE TYPE stream_state AS (version integer, total integer, last_type text);

-- Appends any batch, of events that are new, repeated or to be refused, and decides event by event,
-- in order. The log is locked. `codes` and `messages` are what check_event() found; both are null
-- where the batch looked plain.
CREATE FUNCTION append_one_by_one(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], ids uuid[],
  occurred_ats timestamptz[], requests integer[], codes text[], messages text[], totals integer[], completeds integer[]
) RETURNS SETOF append_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch         CONSTANT integer := cardinality(jobs);
  last          CONSTANT record  := last_event();
  compared      bigint := 0;  -- bytes that had to be parsed, to tell a retry from another event under its id
  next_position bigint := last.head + 1;
  answers       append_answer[] := array_fill(null::append_answer, ARRAY[batch]);  -- by ordinal
  streams       stream_state[]  := array_fill(null::stream_state, ARRAY[batch]);   -- by number of the job
  accepted_as   integer[]       := array_fill(null::integer, ARRAY[batch]);        -- by number of the id: an ordinal
  id_numbers    integer[]       := array_fill(null::integer, ARRAY[batch]);        -- by ordinal
  event         record;
  stream        stream_state;
  total         integer;
  expected      integer;
  repeated      record;
  refusal       text;
  reason        text;
  -- The request under way, and what to go back to when it is refused.
  request         bigint;
  request_start   integer;
  request_stream  integer;
  is_refused      boolean;
  stream_before   stream_state;
  position_before bigint;
BEGIN
  FOR event IN
    SELECT e.ordinal::integer, e.job, e.type, e.data, coalesce(e.metadata, '{}') AS metadata, e.expected_version, e.id,
           e.occurred_at, e.code, e.message, e.total, e.completed,
           -- Events without a number are requests of their own, with numbers beyond all integers.
           coalesce(e.request, 4294967296 + e.ordinal) AS request,
           dense_rank() OVER (ORDER BY e.job COLLATE "C")::integer AS stream,
           dense_rank() OVER (ORDER BY e.id)::integer AS id_number,
           (head.version, head.total, head.type)::stream_state AS head, earlier.position AS earlier_position
      FROM unnest(jobs, types, data, metadata, expected_versions, ids, occurred_ats,
                  codes, messages, totals, completeds, requests)
             WITH ORDINALITY AS e (job, type, data, metadata, expected_version, id, occurred_at,
                                   code, message, total, completed, request, ordinal)
      -- One probe of an index each, whatever the statistics say.
      LEFT JOIN LATERAL (SELECT h.position FROM events AS h WHERE h.event_id = e.id OFFSET 0) AS earlier ON true
      LEFT JOIN LATERAL (
        SELECT h.version, h.total, h.type FROM events AS h WHERE h.category = 'job' AND h.stream_id = e.job
         ORDER BY h.version DESC LIMIT 1) AS head ON true
     WHERE e.ordinal <= batch ORDER BY e.ordinal
  LOOP
    stream := coalesce(streams[event.stream], event.head);
    IF request IS DISTINCT FROM event.request THEN
      request := event.request;
      request_start := event.ordinal;
      request_stream := event.stream;
      is_refused := false;
      stream_before := stream;
      position_before := next_position;
    END IF;
    CONTINUE WHEN is_refused;
    id_numbers[event.ordinal] := event.id_number;
    refusal := null;
    IF event.stream <> request_stream THEN
      refusal := 'invalid_event';
      reason := 'the events of one request belong to one job: this one is of another';
    ELSIF event.earlier_position IS NOT NULL OR accepted_as[event.id_number] IS NOT NULL THEN
      -- A retry comes first: it is never refused for what has happened since.
      repeated := find_repeated(compared, event.earlier_position, answers[accepted_as[event.id_number]], jobs, types,
        data, metadata, occurred_ats, event.job, event.type, event.data, event.metadata, event.occurred_at);
      compared := repeated.compared;
      IF repeated.problem IS NULL THEN
        answers[event.ordinal] := (event.ordinal, repeated.at_position, repeated.at_version, event.id, true, null,
          null)::append_answer;
        CONTINUE;
      END IF;
      refusal := 'event_id_conflict';
      reason := format('event id %s %s', event.id, repeated.problem);
    ELSIF event.code IS NOT NULL THEN
      refusal := event.code;
      reason := event.message;
    ELSE
      total := coalesce(event.total, stream.total);
      expected := CASE WHEN event.ordinal = request_start THEN event.expected_version END;
      IF NOT may_append(event.type, expected, event.completed, total, stream.version, stream.last_type) THEN
        SELECT * INTO refusal, reason FROM explain_refusal(event.job, event.type, expected, event.completed, total,
          stream.version, stream.last_type);
      END IF;
    END IF;

    IF refusal IS NULL THEN
      stream := (coalesce(stream.version, 0) + 1, coalesce(total, 0), event.type)::stream_state;
      streams[event.stream] := stream;
      totals[event.ordinal] := stream.total;
      accepted_as[event.id_number] := event.ordinal;
      answers[event.ordinal] := (event.ordinal, next_position, stream.version, event.id, false, null,
        null)::append_answer;
      next_position := next_position + 1;
    ELSE
      -- The request is refused: what it did so far is undone, and its event ids are free again.
      is_refused := true;
      next_position := position_before;
      streams[request_stream] := stream_before;
      IF event.ordinal > request_start THEN
        reason := format('event %s of this request: %s', event.ordinal - request_start + 1, reason);
      END IF;
      FOR undone IN request_start .. batch LOOP
        EXIT WHEN coalesce(requests[undone], 4294967296 + undone) <> request;
        answers[undone] := (undone, null, null, ids[undone], false, refusal, reason)::append_answer;
        IF accepted_as[id_numbers[undone]] = undone THEN
          accepted_as[id_numbers[undone]] := null;
        END IF;
      END LOOP;
    END IF;
  END LOOP;

  IF next_position > last.head + 1 THEN
    PERFORM write_answered(answers, jobs, types, data, metadata, occurred_ats, last.recorded_at, totals, completeds);
  END IF;
  RETURN QUERY SELECT * FROM unnest(answers);
END
$$;

-- Compares an event with the one that has its id already: in the log at a position, or earlier in
-- the same call with an answer. `problem` is null where the event is a retry of it. `compared` adds
-- up the bytes that a call has to parse for this, which have a limit.
CREATE FUNCTION find_repeated(
  INOUT compared bigint, logged_position bigint, answered append_answer,
  jobs text[], types text[], data text[], metadata text[], occurred_ats timestamptz[],
  job text, type text, content text, context text, occurred_at timestamptz,
  OUT problem text, OUT at_position bigint, OUT at_version integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  most_compared CONSTANT bigint := 64 * 1024 * 1024;
  a_category text;
  a_job      text;
  a_type     text;
  a_content  text;
  a_context  text;
  a_moment   timestamptz;
  parts      text;
BEGIN
  IF logged_position IS NOT NULL THEN
    SELECT e.category, e.stream_id, e.type, e.data::text, e.metadata::text, e.occurred_at, e.position, e.version
      INTO a_category, a_job, a_type, a_content, a_context, a_moment, at_position, at_version
      FROM events AS e WHERE e.position = logged_position;
  ELSE
    a_category := 'job';
    a_job := jobs[answered.ordinal];
    a_type := types[answered.ordinal];
    a_content := data[answered.ordinal];
    a_context := coalesce(metadata[answered.ordinal], '{}');
    a_moment := occurred_ats[answered.ordinal];
    at_position := answered.position;
    at_version := answered.version;
  END IF;
  compared := compared + bytes_to_compare(a_content, content) + bytes_to_compare(a_context, context);
  IF compared > most_compared THEN
    RAISE EXCEPTION 'this call repeats event ids with other content, and to compare it takes more than % MiB',
                    most_compared >> 20
      USING ERRCODE = 'program_limit_exceeded',
            HINT = 'Nothing was written. Send fewer of these events in a call: each has an id of its own, or is '
                   'a retry and the same again.';
  END IF;
  parts := concat_ws(', ', CASE WHEN a_category <> 'job' THEN 'category' END,
                     nullif(differing_parts(a_job, job, a_type, type, a_content, content, a_context, context,
                                            a_moment, occurred_at), ''));
  problem := CASE
    WHEN parts = '' THEN null
    WHEN logged_position IS NOT NULL
      THEN format('is at position %s already, with other %s: a retry sends the same event again, and a new event '
                  'has an id of its own',
                  at_position, parts)
    ELSE format('stands in this call already, with other %s: each event has an id of its own', parts)
  END;
END
$$;

-- Writes the new events among those that append_one_by_one() has answered.
CREATE FUNCTION write_answered(
  answers append_answer[], jobs text[], types text[], data text[], metadata text[], occurred_ats timestamptz[],
  last_recorded_at timestamptz, totals integer[], completeds integer[]
) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  positions bigint[];
  ids       uuid[];
  versions  integer[];
  documents json[];
  contexts  json[];
BEGIN
  -- Only what was accepted is sure to be JSON.
  SELECT array_agg(CASE WHEN NOT e.duplicate THEN e.position END ORDER BY e.ordinal),
         array_agg(e.event_id ORDER BY e.ordinal),
         array_agg(e.version ORDER BY e.ordinal),
         array_agg(CASE WHEN e.position IS NOT NULL AND NOT e.duplicate THEN e.data::json END ORDER BY e.ordinal),
         array_agg(CASE WHEN e.position IS NOT NULL AND NOT e.duplicate THEN e.metadata::json END ORDER BY e.ordinal)
    INTO positions, ids, versions, documents, contexts
    FROM unnest(answers, data, metadata)
           AS e (ordinal, position, version, event_id, duplicate, code, message, data, metadata)
   WHERE e.ordinal IS NOT NULL;
  PERFORM write_events(positions, ids, jobs, versions, types, documents, contexts, occurred_ats,
    greatest(clock_timestamp(), last_recorded_at), null, totals, completeds);
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION
  write_answered(append_answer[], text[], text[], text[], text[], timestamptz[], timestamptz, integer[], integer[]),
  find_repeated(bigint, bigint, append_answer, text[], text[], text[], text[], timestamptz[], text, text, text, text,
    timestamptz),
  append_one_by_one(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text[], text[],
    integer[], integer[]),
  append_one(text, text, text, text, integer, uuid, timestamptz),
  write_events(bigint[], uuid[], text[], integer[], text[], json[], json[], timestamptz[], timestamptz, timestamptz[],
               integer[], integer[]),
  last_event(), forget_turns(text), end_turn(text, bigint), await_turn(text, bigint), lock_log();
DROP TYPE stream_state;
