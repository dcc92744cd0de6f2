-- What the log keeps of each event besides what was sent, and how its names are compared.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION history(text);
DROP VIEW new_events;

-- How many runs a progress event says are done: the append function has read it anyway, and a fold over millions of events
-- need not parse their data again for one number.
ALTER TABLE events ADD COLUMN completed integer;

-- Categories and job ids are compared as bytes: faster than any language's order, and the same on every machine.
ALTER TABLE events
  ALTER COLUMN category  TYPE text COLLATE "C",
  ALTER COLUMN stream_id TYPE text COLLATE "C",
  ALTER COLUMN type      TYPE text COLLATE "C";

ALTER TABLE events
  DROP CONSTRAINT events_stream_version_key,
  ADD CONSTRAINT events_stream_version_key UNIQUE (stream_id, version, category);

-- A log that has events already learns what it would have known of them.
ALTER TABLE events DISABLE TRIGGER events_append_only;
UPDATE events SET completed = (data ->> 'completed')::numeric::integer WHERE category = 'job' AND type = 'progress';
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;

-- What must hold of every row, whoever wrote it. Postgres reads each constraint anew for each statement that inserts, so there are few.
ALTER TABLE events
  DROP CONSTRAINT events_position_positive,
  DROP CONSTRAINT events_version_positive,
  DROP CONSTRAINT events_total_not_negative,
  DROP CONSTRAINT events_job_type,
  DROP CONSTRAINT events_job_opens_queued,
  ADD CONSTRAINT events_numbers CHECK (position > 0 AND version > 0 AND total >= 0 AND completed >= 0),
  ADD CONSTRAINT events_job_type CHECK (
    category <> 'job' OR CASE type
      WHEN 'progress' THEN version > 1 AND completed IS NOT NULL
      WHEN 'queued'   THEN version = 1 AND completed IS NULL
      ELSE version > 1 AND completed IS NULL AND type IN ('truncated', 'finished', 'failed')
    END);

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
REVOKE ALL ON FUNCTION history(text) FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION history(text) TO %I', current_schema() || '_reader');
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP VIEW new_events;
DROP FUNCTION history(text);

ALTER TABLE events
  DROP CONSTRAINT events_stream_version_key,
  DROP CONSTRAINT events_numbers,
  DROP CONSTRAINT events_job_type,
  DROP COLUMN completed;
ALTER TABLE events
  ALTER COLUMN category  TYPE text COLLATE "default",
  ALTER COLUMN stream_id TYPE text COLLATE "default",
  ALTER COLUMN type      TYPE text COLLATE "default",
  ADD CONSTRAINT events_stream_version_key UNIQUE (category, stream_id, version),
  ADD CONSTRAINT events_position_positive  CHECK (position > 0),
  ADD CONSTRAINT events_version_positive   CHECK (version > 0),
  ADD CONSTRAINT events_total_not_negative CHECK (total >= 0),
  ADD CONSTRAINT events_job_type           CHECK (category <> 'job' OR type IN ('queued', 'progress', 'truncated', 'finished', 'failed')),
  ADD CONSTRAINT events_job_opens_queued   CHECK (category <> 'job' OR (version = 1) = (type = 'queued'));

CREATE FUNCTION history(job_id text) RETURNS SETOF events
LANGUAGE sql STABLE ROWS 100 SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT * FROM events WHERE category = 'job' AND stream_id = job_id ORDER BY version;
END;
REVOKE ALL ON FUNCTION history(text) FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION history(text) TO %I', current_schema() || '_reader');
END
$$;

CREATE VIEW new_events AS
  SELECT position, event_id, category, stream_id, version, type, data, metadata, occurred_at, recorded_at, total,
         coalesce(occurred_at, recorded_at) AS happened_at
    FROM events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY (string_to_array(current_setting('jobledger.window_types'), ','));
