-- What was proved of the read models, what was skipped, and what was found to have drifted.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE FUNCTION refuse_change_of_record() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of % refused: it is a record, and only grows', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END
$$;

-- One row a rebuild, a verification or an undoing.
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
  -- A rebuild: how long readers had to wait for the swap. Written before its commit, which comes on top.
  blocked_ms    double precision,
  made_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  made_by       text        NOT NULL,  -- as the program says
  role          text        NOT NULL DEFAULT session_user,

  CONSTRAINT receipts_pkey         PRIMARY KEY (number),
  CONSTRAINT receipts_kind         CHECK (kind IN ('rebuild', 'verify', 'undo')),
  CONSTRAINT receipts_proof        CHECK (kind = 'undo' OR num_nulls(rows, digest, events, seconds, workers, window_events) = 0),
  CONSTRAINT receipts_verify       CHECK (kind <> 'verify' OR live_digest IS NOT NULL),
  CONSTRAINT receipts_digest_form  CHECK (digest ~ '^[0-9a-f]{64}$' AND live_digest ~ '^[0-9a-f]{64}$'),
  CONSTRAINT receipts_not_negative CHECK (least(position, rows, events, 0) = 0 AND least(seconds, blocked_ms, 0) >= 0)
);

CREATE TRIGGER receipts_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON receipts
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE receipts ENABLE ALWAYS TRIGGER receipts_only_grow;

-- The event that stopped a projection, by its id too.
ALTER TABLE projections ADD COLUMN failed_event uuid;

-- What an operator said is to be left out, of which definition: another one has not been asked yet. Rebuild, verify and as-of leave it
-- out as well.
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
  CONSTRAINT skipped_events_has_reason CHECK (reason <> '')
);

CREATE TRIGGER skipped_events_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON skipped_events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE skipped_events ENABLE ALWAYS TRIGGER skipped_events_only_grow;

-- Sets a projection going again that an event has stopped, and a rebuild of it. False where none is stopped.
CREATE FUNCTION retry_projection(of_projection text) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  retried boolean;
BEGIN
  UPDATE projections SET state = 'running', failed_position = null, failed_event = null, error = null, updated_at = clock_timestamp()
   WHERE name = of_projection AND state = 'stopped';
  retried := found;
  UPDATE rebuilds SET failed_position = null, failed_event = null, error = null
   WHERE projection = of_projection AND error IS NOT NULL;
  RETURN retried OR found;
END
$$;

-- Leaves out the event that has stopped a projection, or a rebuild of it, and sets it going again. Only that one can be left out:
-- what is folded already would be in the tables, and not in their rebuild.
CREATE FUNCTION skip_event(of_projection text, at_position bigint, because text, by text) RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  skipped CONSTANT uuid := (SELECT e.event_id FROM events AS e WHERE e.position = at_position);
BEGIN
  INSERT INTO skipped_events (projection, definition, position, event_id, error, reason, skipped_by)
  SELECT DISTINCT ON (stopped.definition) of_projection, stopped.definition, at_position, skipped, stopped.error, because, by
    FROM (SELECT definition, failed_position, error FROM projections WHERE name = of_projection AND state = 'stopped'
          UNION ALL
          SELECT definition, failed_position, error FROM rebuilds WHERE projection = of_projection AND error IS NOT NULL) AS stopped
   WHERE stopped.failed_position = at_position;
  IF NOT found THEN
    RAISE EXCEPTION 'nothing skipped: % is not stopped at position %', of_projection, at_position
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Only the event that has stopped a projection can be skipped; jobledger status names it.';
  END IF;
  PERFORM retry_projection(of_projection);
  RETURN skipped;
END
$$;

-- What refolding a sample of jobs in production has found.
CREATE TABLE drift_checks (
  projection text        NOT NULL,
  jobs       bigint      NOT NULL DEFAULT 0,  -- how many were compared, ever
  drifted    bigint      NOT NULL DEFAULT 0,  -- how many of them differed
  position   bigint      NOT NULL,            -- of the last comparison
  checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_drift text,                            -- what differed last

  CONSTRAINT drift_checks_pkey    PRIMARY KEY (projection),
  CONSTRAINT drift_checks_drifted CHECK (drifted BETWEEN 0 AND jobs)
);

REVOKE ALL ON receipts, skipped_events, drift_checks FROM PUBLIC;
REVOKE ALL ON FUNCTION refuse_change_of_record(), retry_projection(text), skip_event(text, bigint, text, text) FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT SELECT ON receipts, skipped_events, drift_checks TO %I', current_schema() || '_reader');
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM skipped_events) THEN
    RAISE EXCEPTION 'there are events that were skipped: dropping the record of it would make rebuilds differ from the tables';
  END IF;
END
$$;
DROP TABLE drift_checks;
DROP FUNCTION skip_event(text, bigint, text, text);
DROP FUNCTION retry_projection(text);
DROP TABLE skipped_events;
ALTER TABLE projections DROP COLUMN failed_event;
DROP TABLE receipts;
DROP FUNCTION refuse_change_of_record();
