-- The log: every event of every job, in one gapless order.
--
-- All names in these files are unqualified. They belong to the ledger's own schema, which the
-- runner of migrations puts first in search_path (with dbmate: add ?search_path=NAME to the URL).
-- Functions keep that schema by SET search_path FROM CURRENT.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Event data outside of UTF-8 would be refused event by event, long after the ledger was made.
DO $$
BEGIN
  IF getdatabaseencoding() <> 'UTF8' THEN
    RAISE EXCEPTION 'the database % has the encoding %, and a ledger needs UTF8',
                    current_database(), getdatabaseencoding()
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It cannot be changed. Make another: CREATE DATABASE name ENCODING ''UTF8'' LOCALE ''C.UTF-8'' '
                   'TEMPLATE template0';
  END IF;
END
$$;

-- The rules below are SQL expressions with a name. Postgres inlines them, so the constraints and
-- functions that share a rule pay nothing for it.

CREATE FUNCTION longest_stream_id() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 255;

-- A job's id is printed in logs, URLs and terminals, so control characters are refused.
CREATE FUNCTION is_stream_id(id text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN length(id) BETWEEN 1 AND longest_stream_id() AND id !~ '[\x01-\x1f\x7f]';

CREATE FUNCTION is_event_type(type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN type IN ('queued', 'progress', 'truncated', 'finished', 'failed');

-- The years that every reader can represent: RFC 3339 has four digits.
CREATE FUNCTION is_event_time(moment timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN moment BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00';

-- What a single value may be is checked by its type. Postgres parses a table's CHECK again for each
-- statement that inserts, which for one event takes as long as writing it; it prepares a domain's
-- check once a session.
--
-- Positions end at 2^62 - 1, so that adding one, or adding two of them, never overflows.
CREATE DOMAIN event_position AS bigint
  CONSTRAINT event_position_positive  CHECK (VALUE > 0)
  CONSTRAINT event_position_countable CHECK (VALUE < 4611686018427387904);
CREATE DOMAIN event_version AS integer CONSTRAINT event_version_positive CHECK (VALUE > 0);
CREATE DOMAIN run_count AS integer CONSTRAINT run_count_not_negative CHECK (VALUE >= 0);
CREATE DOMAIN stream_name AS text COLLATE "C" CONSTRAINT stream_name_form CHECK (is_stream_id(VALUE));
CREATE DOMAIN event_type AS text COLLATE "C" CONSTRAINT event_type_known CHECK (is_event_type(VALUE));
CREATE DOMAIN event_time AS timestamptz CONSTRAINT event_time_in_years CHECK (is_event_time(VALUE));

-- Facts about the ledger as a whole, in one row. A restored or re-created ledger gets another
-- epoch, by which readers tell it from the one they knew.
CREATE TABLE ledger (
  only_one   boolean     NOT NULL DEFAULT true,
  epoch      uuid        NOT NULL DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT ledger_pkey     PRIMARY KEY (only_one),
  CONSTRAINT ledger_only_one CHECK (only_one)
);
INSERT INTO ledger DEFAULT VALUES;

-- Ids and types are compared as bytes (collation C): faster than a language's order, and the same
-- on every machine.
CREATE TABLE events (
  position    event_position NOT NULL,
  event_id    uuid           NOT NULL,
  category    text           NOT NULL DEFAULT 'job' COLLATE "C",
  stream_id   stream_name    NOT NULL,
  version     event_version  NOT NULL,
  type        event_type     NOT NULL,
  -- json, not jsonb: it keeps the bytes that were sent, so that they can be hashed.
  data        json           NOT NULL,
  metadata    json           NOT NULL DEFAULT '{}',
  occurred_at event_time,
  recorded_at event_time     NOT NULL,
  -- The job's known total after this event, 0 where it is unknown. An append needs it of the job's
  -- last event. Kept here, one probe of that event replaces a table of jobs that every append would
  -- update.
  total       run_count      NOT NULL DEFAULT 0,
  -- How many runs a progress event reports as done. An append parses the data anyway, so folds over
  -- millions of events need not parse them again for this number.
  completed   run_count,

  CONSTRAINT events_pkey               PRIMARY KEY (position),
  CONSTRAINT events_event_id_key       UNIQUE (event_id),
  CONSTRAINT events_stream_version_key UNIQUE (stream_id, version, category),
  -- A job begins with queued and with nothing else. Progress alone has a completed count.
  CONSTRAINT events_job_type CHECK (
    (type = 'queued') = (version = 1) AND (type = 'progress') = (completed IS NOT NULL))
);

-- The log only grows. Its newest rows must be vacuumed and analysed soon, whatever the server's
-- settings are.
ALTER TABLE events SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE FUNCTION refuse_change_of_log() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of events refused: the log is append-only', TG_OP
    USING ERRCODE = 'restrict_violation', HINT = 'Append an event that says what changed.';
END
$$;

CREATE TRIGGER events_append_only
  BEFORE UPDATE OR DELETE OR TRUNCATE ON events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_log();

CREATE FUNCTION refuse_insert_past_append() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'INSERT into events refused: events come in through append() or append_event()'
    USING ERRCODE = 'restrict_violation';
END
$$;

-- Only append functions set jobledger.appending, for the time of their call. So even the owner
-- cannot bypass the rules by mistake. The condition is in the trigger, where it costs no function
-- call.
CREATE TRIGGER events_appended_only
  BEFORE INSERT ON events FOR EACH STATEMENT
  WHEN (coalesce(current_setting('jobledger.appending', true), 'off') NOT IN ('on', 'noted'))
  EXECUTE FUNCTION refuse_insert_past_append();

-- ALWAYS: they fire under session_replication_role = replica as well.
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only, ENABLE ALWAYS TRIGGER events_appended_only;

-- The last position, 0 while the log is empty.
CREATE FUNCTION head() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
RETURN coalesce((SELECT max(position) FROM events), 0);

-- The events of one job, oldest first.
CREATE FUNCTION history(job_id text) RETURNS SETOF events
LANGUAGE sql STABLE ROWS 100 SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT * FROM events WHERE category = 'job' AND stream_id = job_id ORDER BY version;
END;

-- The last position recorded at or before a moment, 0 where there is none. Positions have no gaps
-- and recorded_at never goes back, so a binary search finds it in a few probes of the primary key.
CREATE FUNCTION position_at(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  low    bigint := 0;
  high   bigint := head();
  middle bigint;
BEGIN
  WHILE low < high LOOP
    middle := (low + high + 1) / 2;
    IF (SELECT recorded_at FROM events WHERE position = middle) <= moment THEN
      low := middle;
    ELSE
      high := middle - 1;
    END IF;
  END LOOP;
  RETURN low;
END
$$;

-- Waits until the head is beyond a position, at most for `longest_wait` (10 s at most), and returns
-- the head. It looks at the end of the index each millisecond, which costs about a hundredth of a
-- core and costs appenders nothing. NOTIFY would serialise all commits of the database. Keep the
-- wait short: while it waits, vacuum cannot remove rows that have died since it began.
CREATE FUNCTION await_events(after bigint, longest_wait interval, every interval DEFAULT '1 ms') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + greatest(least(longest_wait, '10 s'), '0');
  pause    CONSTANT interval    := greatest(least(every, '1 s'), '0');
  head              bigint;
BEGIN
  LOOP
    -- In a volatile function each statement has a snapshot of its own, and sees what was committed
    -- meanwhile.
    SELECT e.position INTO head FROM events AS e ORDER BY e.position DESC LIMIT 1;
    EXIT WHEN head > after OR clock_timestamp() >= deadline;
    PERFORM pg_sleep_for(pause);
  END LOOP;
  RETURN coalesce(head, 0);
END
$$;

-- Begins another epoch. Run it after restoring the ledger from a backup: subscribers may have seen
-- events that are gone now, and their positions will be given again. The change is on disk when the
-- call's transaction has committed, like an event.
CREATE FUNCTION begin_epoch() RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  begun uuid;
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  UPDATE ledger SET epoch = gen_random_uuid(), created_at = clock_timestamp() RETURNING epoch INTO begun;
  RETURN begun;
END
$$;

-- Returns true while the ledger is in the expected epoch, and raises JL021 after it has begun
-- another.
CREATE FUNCTION expect_epoch(expected uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  here CONSTANT uuid := (SELECT epoch FROM ledger);
BEGIN
  IF here IS DISTINCT FROM expected THEN
    RAISE EXCEPTION 'the ledger has begun the epoch %', here
      USING ERRCODE = 'JL021', HINT = 'Read its epoch and its log anew.';
  END IF;
  RETURN true;
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM events) THEN
    RAISE EXCEPTION 'the log holds % events: dropping it would lose them', head()
      USING HINT = 'Drop the schema by hand if that is what you want.';
  END IF;
END
$$;
DROP FUNCTION expect_epoch(uuid), begin_epoch(), await_events(bigint, interval, interval), position_at(timestamptz),
  history(text), head();
DROP TABLE events;
DROP FUNCTION refuse_insert_past_append(), refuse_change_of_log();
DROP TABLE ledger;
DROP DOMAIN event_time, event_type, stream_name, run_count, event_version, event_position;
DROP FUNCTION is_event_time(timestamptz), is_event_type(text), is_stream_id(text), longest_stream_id();
