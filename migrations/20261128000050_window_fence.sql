-- A window of events is always read along the log. Without the fence Postgres may read it by another index, because that has the order which
-- a fold asks for, and then walks the whole log for each window.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The window of events that a projection folds: what apply.sql reads. The engine sets its bounds for each transaction. The types
-- are in a query of their own so that the setting is taken apart once, not once an event. OFFSET 0 is the fence.
CREATE OR REPLACE VIEW new_events AS
  SELECT position, event_id, category, stream_id::text COLLATE "default" AS stream_id, version, type, data, metadata, occurred_at, recorded_at,
         total, coalesce(occurred_at, recorded_at) AS happened_at, completed
    FROM events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[])
  OFFSET 0;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE OR REPLACE VIEW new_events AS
  SELECT position, event_id, category, stream_id::text COLLATE "default" AS stream_id, version, type, data, metadata, occurred_at, recorded_at,
         total, coalesce(occurred_at, recorded_at) AS happened_at, completed
    FROM events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[]);
