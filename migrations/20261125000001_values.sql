-- What each value of an event may be is said by its type. A CHECK of the table is read anew, as text, for each statement that inserts, which for
-- one event takes as long as writing it; what a domain checks is kept ready in the session.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE DOMAIN event_position AS bigint CONSTRAINT event_position_positive CHECK (VALUE > 0);
CREATE DOMAIN event_version AS integer CONSTRAINT event_version_positive CHECK (VALUE > 0);
CREATE DOMAIN run_count AS integer CONSTRAINT run_count_not_negative CHECK (VALUE >= 0);
CREATE DOMAIN stream_name AS text COLLATE "C" CONSTRAINT stream_name_length CHECK (length(VALUE) BETWEEN 1 AND 255);
-- A further category will bring further types.
CREATE DOMAIN event_type AS text COLLATE "C"
  CONSTRAINT event_type_known CHECK (VALUE IN ('queued', 'progress', 'truncated', 'finished', 'failed'));

DROP FUNCTION history(text);
DROP FUNCTION head();
DROP VIEW new_events;

ALTER TABLE events
  DROP CONSTRAINT events_stream_id_length,
  DROP CONSTRAINT events_numbers,
  DROP CONSTRAINT events_job_type;
ALTER TABLE events
  ALTER COLUMN position  TYPE event_position,
  ALTER COLUMN stream_id TYPE stream_name,
  ALTER COLUMN version   TYPE event_version,
  ALTER COLUMN type      TYPE event_type,
  ALTER COLUMN total     TYPE run_count,
  ALTER COLUMN completed TYPE run_count,
  -- A job begins with queued and with nothing else; what is completed is known of progress and of nothing else.
  ADD CONSTRAINT events_job_type CHECK ((type = 'queued') = (version = 1) AND (type = 'progress') = (completed IS NOT NULL));

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

-- The window of events that a projection folds: what apply.sql reads. The engine sets its bounds for each transaction. The types
-- are in a query of their own so that the setting is taken apart once, not once an event.
CREATE VIEW new_events AS
  SELECT position, event_id, category, stream_id, version, type, data, metadata, occurred_at, recorded_at, total,
         coalesce(occurred_at, recorded_at) AS happened_at, completed
    FROM events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[]);

REVOKE ALL ON new_events FROM PUBLIC;
REVOKE ALL ON FUNCTION head(), history(text) FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION head(), history(text) TO %I', current_schema() || '_reader');
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION history(text);
DROP FUNCTION head();
DROP VIEW new_events;

ALTER TABLE events DROP CONSTRAINT events_job_type;
ALTER TABLE events
  ALTER COLUMN position  TYPE bigint,
  ALTER COLUMN stream_id TYPE text COLLATE "C",
  ALTER COLUMN version   TYPE integer,
  ALTER COLUMN type      TYPE text COLLATE "C",
  ALTER COLUMN total     TYPE integer,
  ALTER COLUMN completed TYPE integer,
  ADD CONSTRAINT events_stream_id_length CHECK (length(stream_id) BETWEEN 1 AND 255),
  ADD CONSTRAINT events_numbers CHECK (position > 0 AND version > 0 AND total >= 0 AND completed >= 0),
  ADD CONSTRAINT events_job_type CHECK (
    category <> 'job' OR CASE type
      WHEN 'progress' THEN version > 1 AND completed IS NOT NULL
      WHEN 'queued'   THEN version = 1 AND completed IS NULL
      ELSE version > 1 AND completed IS NULL AND type IN ('truncated', 'finished', 'failed')
    END);

DROP DOMAIN event_type;
DROP DOMAIN stream_name;
DROP DOMAIN run_count;
DROP DOMAIN event_version;
DROP DOMAIN event_position;

CREATE FUNCTION head() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
RETURN coalesce((SELECT max(position) FROM events), 0);

CREATE FUNCTION history(job_id text) RETURNS SETOF events
LANGUAGE sql STABLE ROWS 100 SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT * FROM events WHERE category = 'job' AND stream_id = job_id ORDER BY version;
END;

CREATE VIEW new_events AS
  SELECT position, event_id, category, stream_id, version, type, data, metadata, occurred_at, recorded_at, total,
         coalesce(occurred_at, recorded_at) AS happened_at, completed
    FROM events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[]);

REVOKE ALL ON new_events FROM PUBLIC;
REVOKE ALL ON FUNCTION head(), history(text) FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION head(), history(text) TO %I', current_schema() || '_reader');
END
$$;
