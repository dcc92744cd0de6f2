-- Projections: where each stands, the events that it folds, and the records of rebuilds,
-- verifications, skipped events and drift.
--
-- Records are written by functions with the owner's rights, which take the author and the time from
-- the session. A record can be wrong about its author's own work, and about nothing else.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE projections (
  name            text        NOT NULL,
  definition      text        NOT NULL,  -- the hash of the SQL that made its tables
  position        bigint      NOT NULL DEFAULT 0,
  state           text        NOT NULL DEFAULT 'running',
  failed_position bigint,                -- the event that stopped it
  error           text,
  updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  tables          text[]      NOT NULL DEFAULT '{}',  -- another definition may have others
  failed_event    uuid,                  -- the id of the event that stopped it

  CONSTRAINT projections_pkey                  PRIMARY KEY (name),
  CONSTRAINT projections_position_not_negative CHECK (position >= 0),
  CONSTRAINT projections_state                 CHECK (state IN ('running', 'stopped')),
  CONSTRAINT projections_stopped_for_a_reason  CHECK ((state = 'stopped') = (error IS NOT NULL))
);

-- The columns that a projection sees of events, in whatever part of the log: live folds, rebuilds,
-- the past and checks all select from this view. Ids of jobs have the database's collation, as the
-- tables of projections do: an index serves no comparison in another collation.
CREATE VIEW foldable_events AS
  SELECT position, event_id, category, stream_id::text COLLATE "default" AS stream_id, version, type, data, metadata,
         occurred_at, recorded_at, total, coalesce(occurred_at, recorded_at) AS happened_at, completed
    FROM events;

-- The window of events that a projection folds: what apply.sql reads. The engine sets its bounds
-- for each transaction. The types are a query of their own, so that the setting is split once and
-- not for each event. OFFSET 0 makes Postgres read a window along the log. Without it, it may
-- choose another index, because that has the order which a fold asks for, and walk the whole log
-- for each window.
CREATE VIEW new_events AS
  SELECT *
    FROM foldable_events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[])
  OFFSET 0;

-- One row for each rebuild, verification or undo.
CREATE TABLE receipts (
  number        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  kind          text        NOT NULL,
  projection    text        NOT NULL,
  definition    text        NOT NULL,
  position      bigint      NOT NULL,  -- what the digest is of: the tables after this event
  rows          bigint,
  digest        text,
  live_digest   text,                  -- of the tables in use, where one definition made both
  events        bigint,                -- how many were folded
  seconds       double precision,
  workers       integer,
  window_events bigint,
  blocked_ms    double precision,      -- a rebuild: how long readers waited for the swap, without its commit
  made_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  made_by       text        NOT NULL,  -- as the program says
  role          text        NOT NULL DEFAULT session_user,
  left_out      bigint,                -- how many events were skipped up to the position

  CONSTRAINT receipts_pkey         PRIMARY KEY (number),
  CONSTRAINT receipts_kind         CHECK (kind IN ('rebuild', 'verify', 'undo')),
  CONSTRAINT receipts_proof
    CHECK (kind = 'undo' OR num_nulls(rows, digest, events, seconds, workers, window_events) = 0),
  CONSTRAINT receipts_verify       CHECK (kind <> 'verify' OR live_digest IS NOT NULL),
  CONSTRAINT receipts_digest_form  CHECK (digest ~ '^[0-9a-f]{64}$' AND live_digest ~ '^[0-9a-f]{64}$'),
  CONSTRAINT receipts_not_negative
    CHECK (least(position, rows, events, left_out, 0) = 0 AND least(seconds, blocked_ms, 0) >= 0),
  CONSTRAINT receipts_lengths
    CHECK (length(projection) <= 100 AND length(definition) <= 100 AND length(made_by) <= 300),
  CONSTRAINT receipts_durations    CHECK (seconds BETWEEN 0 AND 1e9 AND blocked_ms BETWEEN 0 AND 1e12)
);

CREATE TRIGGER receipts_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON receipts
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE receipts ENABLE ALWAYS TRIGGER receipts_only_grow;

-- Which events an operator has a definition leave out. Another definition has not tried them yet.
-- Rebuild, verify and as-of leave them out too.
CREATE TABLE skipped_events (
  projection text         NOT NULL,
  definition text         NOT NULL,
  position   bigint       NOT NULL,
  event_id   uuid         NOT NULL,
  error      text         NOT NULL,  -- why it could not be folded
  reason     text         NOT NULL,  -- why it may be left out
  skipped_at timestamptz  NOT NULL DEFAULT clock_timestamp(),
  skipped_by text         NOT NULL,
  role       text         NOT NULL DEFAULT session_user,

  CONSTRAINT skipped_events_pkey       PRIMARY KEY (projection, definition, position),
  CONSTRAINT skipped_events_has_reason CHECK (reason <> ''),
  CONSTRAINT skipped_events_lengths
    CHECK (length(error) <= 4000 AND length(reason) <= 4000 AND length(skipped_by) <= 300)
);

CREATE TRIGGER skipped_events_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON skipped_events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE skipped_events ENABLE ALWAYS TRIGGER skipped_events_only_grow;

-- What refolding a sample of jobs in production has found. Counts only grow.
CREATE TABLE drift_checks (
  projection text        NOT NULL,
  jobs       bigint      NOT NULL DEFAULT 0,  -- how many were compared, ever
  drifted    bigint      NOT NULL DEFAULT 0,  -- how many of them differed
  position   bigint      NOT NULL,            -- of the last comparison
  checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_drift text,                            -- what differed last
  checked_by text,

  CONSTRAINT drift_checks_pkey    PRIMARY KEY (projection),
  CONSTRAINT drift_checks_drifted CHECK (drifted BETWEEN 0 AND jobs),
  CONSTRAINT drift_checks_lengths CHECK (length(projection) <= 100 AND length(last_drift) <= 4000)
);

-- A rebuild under way. Its tables are in the schema LEDGER-ID. At first, slices of the streams are
-- folded in parallel, each with a position of its own. From the goal on, the tables have one
-- position.
CREATE TABLE rebuilds (
  projection      text        NOT NULL,
  id              bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  definition      text        NOT NULL,  -- the hash of the SQL that makes the tables
  slices          integer     NOT NULL,
  goal            bigint      NOT NULL,
  position        bigint,                -- null while slices are folded
  indexes         text[]      NOT NULL,  -- the names of those that are still to be made
  -- Another version of Postgres may hash texts otherwise, and a stream would change its slice.
  server_version  integer     NOT NULL DEFAULT current_setting('server_version_num')::integer / 10000,
  failed_position bigint,                -- the event that it cannot fold
  failed_event    uuid,
  error           text,
  started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_by      text        NOT NULL,

  CONSTRAINT rebuilds_pkey               PRIMARY KEY (projection),
  CONSTRAINT rebuilds_id_key             UNIQUE (id),
  CONSTRAINT rebuilds_id_goal_key        UNIQUE (id, goal),
  CONSTRAINT rebuilds_slices_positive    CHECK (slices > 0),
  CONSTRAINT rebuilds_goal_not_negative  CHECK (goal >= 0),
  CONSTRAINT rebuilds_position_from_goal CHECK (position >= goal),
  CONSTRAINT rebuilds_failed_at_an_event CHECK ((failed_position IS NULL) = (error IS NULL))
);

-- How far each slice is. A window and this position commit together.
CREATE TABLE rebuild_slices (
  rebuild  bigint  NOT NULL,
  slice    integer NOT NULL,
  goal     bigint  NOT NULL,
  position bigint  NOT NULL DEFAULT 0,

  CONSTRAINT rebuild_slices_pkey               PRIMARY KEY (rebuild, slice),
  CONSTRAINT rebuild_slices_rebuild_fkey       FOREIGN KEY (rebuild, goal)
    REFERENCES rebuilds (id, goal) ON DELETE CASCADE,
  CONSTRAINT rebuild_slices_slice_not_negative CHECK (slice >= 0),
  CONSTRAINT rebuild_slices_position_to_goal   CHECK (position BETWEEN 0 AND goal)
);

-- The tables that the last rebuild of a projection replaced, as they were: in the schema LEDGER~ID.
CREATE TABLE replaced_tables (
  projection  text        NOT NULL,
  id          bigint      NOT NULL,  -- the rebuild's
  definition  text        NOT NULL,
  tables      text[]      NOT NULL,
  position    bigint      NOT NULL,
  replaced_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT replaced_tables_pkey                  PRIMARY KEY (projection),
  CONSTRAINT replaced_tables_id_key                UNIQUE (id),
  CONSTRAINT replaced_tables_position_not_negative CHECK (position >= 0)
);

-- Restarts a projection that an event has stopped, and its rebuild. Returns false where neither is
-- stopped.
CREATE FUNCTION retry_projection(of_projection text) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  retried boolean;
BEGIN
  UPDATE projections SET state = 'running', failed_position = null, failed_event = null, error = null,
      updated_at = clock_timestamp()
   WHERE name = of_projection AND state = 'stopped';
  retried := found;
  UPDATE rebuilds SET failed_position = null, failed_event = null, error = null
   WHERE projection = of_projection AND error IS NOT NULL;
  RETURN retried OR found;
END
$$;

-- Leaves out the event that has stopped a projection, or its rebuild, and restarts it. No other
-- event can be left out: what is folded already would be in the tables, and not in their rebuild.
-- That the projection is stopped there is what a projector says, so verify tries each skipped event
-- again.
CREATE FUNCTION skip_event(of_projection text, at_position bigint, because text, by text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  skipped CONSTANT uuid := (SELECT e.event_id FROM events AS e WHERE e.position = at_position);
BEGIN
  INSERT INTO skipped_events (projection, definition, position, event_id, error, reason, skipped_by)
  SELECT DISTINCT ON (stopped.definition)
         of_projection, stopped.definition, at_position, skipped, left(stopped.error, 4000), because, left(by, 300)
    FROM (SELECT definition, failed_position, error FROM projections
           WHERE name = of_projection AND state = 'stopped' AND position = at_position - 1
          UNION ALL
          SELECT definition, failed_position, error FROM rebuilds
           WHERE projection = of_projection AND error IS NOT NULL) AS stopped
   WHERE stopped.failed_position = at_position;
  IF NOT found THEN
    RAISE EXCEPTION 'nothing skipped: % is not stopped at position %', of_projection, at_position
      USING ERRCODE = 'object_not_in_prerequisite_state',
        HINT = 'Only the event that has stopped a projection can be skipped; jobledger status names it.';
  END IF;
  PERFORM retry_projection(of_projection);
  RETURN skipped;
END
$$;

-- Records what a rebuild, a verification or an undo has found. Time, role and the number of skipped
-- events are taken from here; the rest is what the caller says.
CREATE FUNCTION record_receipt(
  of_kind text, of_projection text, of_definition text, at_position bigint, row_count bigint, of_digest text,
  of_live_digest text, event_count bigint, in_seconds double precision, worker_count integer,
  events_a_window bigint, blocked_milliseconds double precision, by text
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO receipts (
    kind, projection, definition, position, rows, digest, live_digest,
    events, seconds, workers, window_events, blocked_ms, made_by, left_out)
  VALUES (
    of_kind, of_projection, of_definition, at_position, row_count, of_digest, of_live_digest,
    event_count, in_seconds, worker_count, events_a_window, blocked_milliseconds, left(by, 300),
    (SELECT count(*) FROM skipped_events AS s
      WHERE s.projection = of_projection AND s.definition = of_definition AND s.position <= at_position))
  RETURNING number;
END;

-- Records what a comparison has found.
CREATE FUNCTION record_drift_check(
  of_projection text, compared bigint, differing bigint, at_position bigint, what_differs text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF NOT coalesce(compared BETWEEN 0 AND 1000000 AND differing BETWEEN 0 AND compared, false) THEN
    RAISE EXCEPTION '% of % jobs cannot have differed in one comparison', differing, compared
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO drift_checks AS known (projection, jobs, drifted, position, last_drift, checked_by)
  VALUES (of_projection, compared, differing, at_position, left(what_differs, 4000), session_user)
  ON CONFLICT (projection) DO UPDATE
     SET jobs = known.jobs + excluded.jobs, drifted = known.drifted + excluded.drifted, position = excluded.position,
         checked_at = clock_timestamp(), checked_by = session_user,
           last_drift = coalesce(excluded.last_drift, known.last_drift);
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM projections) THEN
    RAISE EXCEPTION 'there are projections: their tables would be left without a checkpoint'
      USING HINT = 'Drop their tables and rows first.';
  ELSIF EXISTS (SELECT FROM rebuilds) OR EXISTS (SELECT FROM replaced_tables) THEN
    RAISE EXCEPTION 'there are tables of rebuilds: they would be left without a record'
      USING HINT = 'jobledger rebuild --cancel or --drop-old takes them away.';
  ELSIF EXISTS (SELECT FROM skipped_events) THEN
    RAISE EXCEPTION 'there are events that were skipped: dropping the record of it would make rebuilds differ from '
                    'the tables';
  END IF;
END
$$;
DROP FUNCTION
  record_drift_check(text, bigint, bigint, bigint, text),
  record_receipt(text, text, text, bigint, bigint, text, text, bigint, double precision, integer, bigint,
    double precision, text),
  skip_event(text, bigint, text, text), retry_projection(text);
DROP TABLE replaced_tables, rebuild_slices, rebuilds, drift_checks, skipped_events, receipts;
DROP VIEW new_events, foldable_events;
DROP TABLE projections;
