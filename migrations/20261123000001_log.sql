-- The log: every event of every job, in one gapless order.
--
-- Names are unqualified: they belong to the ledger's own schema, which the runner puts first in search_path
-- (dbmate: add ?search_path=NAME to the URL). Functions remember that schema with SET search_path FROM CURRENT.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- What is true of the ledger as a whole. A restored or re-created ledger gets another epoch, so that readers can tell it from
-- the one they knew.
CREATE TABLE ledger (
  only_one   boolean     NOT NULL DEFAULT true,
  epoch      uuid        NOT NULL DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT ledger_pkey     PRIMARY KEY (only_one),
  CONSTRAINT ledger_only_one CHECK (only_one)
);
INSERT INTO ledger DEFAULT VALUES;

-- Begins another epoch. Run it after restoring the ledger from a backup: what subscribers have seen since is gone, and its
-- positions will be given again.
CREATE FUNCTION begin_epoch() RETURNS uuid
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE ledger SET epoch = gen_random_uuid(), created_at = clock_timestamp() RETURNING epoch;
END;

CREATE TABLE events (
  position    bigint      NOT NULL,
  event_id    uuid        NOT NULL,
  category    text        NOT NULL DEFAULT 'job',
  stream_id   text        NOT NULL,
  version     integer     NOT NULL,
  type        text        NOT NULL,
  -- json, not jsonb: it keeps the bytes that were sent, so that they can be hashed.
  data        json        NOT NULL,
  metadata    json        NOT NULL DEFAULT '{}',
  occurred_at timestamptz,
  recorded_at timestamptz NOT NULL,
  -- The job's known total after this event, 0 where unknown. It is what the append function has to remember of a job besides its
  -- last event; kept here, one probe of the last event replaces a table of stream heads that every append would have to update.
  total       integer     NOT NULL DEFAULT 0,

  CONSTRAINT events_pkey               PRIMARY KEY (position),
  CONSTRAINT events_event_id_key       UNIQUE (event_id),
  CONSTRAINT events_stream_version_key UNIQUE (category, stream_id, version),
  CONSTRAINT events_position_positive  CHECK (position > 0),
  CONSTRAINT events_version_positive   CHECK (version > 0),
  CONSTRAINT events_total_not_negative CHECK (total >= 0),
  CONSTRAINT events_stream_id_length   CHECK (length(stream_id) BETWEEN 1 AND 255),
  CONSTRAINT events_job_type           CHECK (category <> 'job' OR type IN ('queued', 'progress', 'truncated', 'finished', 'failed')),
  CONSTRAINT events_job_opens_queued   CHECK (category <> 'job' OR (version = 1) = (type = 'queued'))
);

-- The log only grows: at its end, whatever happened to vacuum's settings elsewhere, new rows must not wait for statistics.
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

-- Rows come in through append() alone, which says so for the time of its insert: not even the owner goes round the rules by mistake.
CREATE FUNCTION refuse_insert_past_append() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('jobledger.appending', true) IS DISTINCT FROM 'on' THEN
    RAISE EXCEPTION 'INSERT into events refused: events come in through append() or append_event()'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN null;
END
$$;

CREATE TRIGGER events_appended_only
  BEFORE INSERT ON events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_insert_past_append();

-- Also where session_replication_role says otherwise.
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

-- The last position recorded at or before a moment, 0 where there is none. Positions have no gaps and recorded_at never goes
-- back, so halving finds it in a few probes of the primary key, however long the log.
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
DROP FUNCTION position_at(timestamptz);
DROP FUNCTION history(text);
DROP FUNCTION head();
DROP TABLE events;
DROP FUNCTION refuse_insert_past_append();
DROP FUNCTION refuse_change_of_log();
DROP FUNCTION begin_epoch();
DROP TABLE ledger;
