-- A projection finds its rows by their job, that is by an index of its own table. The log keeps a job's id in the collation "C", tables are made
-- with the database's own, and an index serves no comparison in another: each fold read its whole table. So what folds see has the database's.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP VIEW new_events;

-- The window of events that a projection folds: what apply.sql reads. The engine sets its bounds for each transaction. The types
-- are in a query of their own so that the setting is taken apart once, not once an event.
CREATE VIEW new_events AS
  SELECT position, event_id, category, stream_id::text COLLATE "default" AS stream_id, version, type, data, metadata, occurred_at, recorded_at,
         total, coalesce(occurred_at, recorded_at) AS happened_at, completed
    FROM events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[]);

REVOKE ALL ON new_events FROM PUBLIC;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP VIEW new_events;

CREATE VIEW new_events AS
  SELECT position, event_id, category, stream_id, version, type, data, metadata, occurred_at, recorded_at, total,
         coalesce(occurred_at, recorded_at) AS happened_at, completed
    FROM events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[]);

REVOKE ALL ON new_events FROM PUBLIC;
