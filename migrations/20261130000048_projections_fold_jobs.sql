-- Projections fold events of jobs. Types of other categories may have the same names.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The window of events that a projection folds: what apply.sql reads. The engine sets its bounds
-- for each transaction. The types are a query of their own, so that the setting is split once and
-- not for each event. OFFSET 0 makes Postgres read a window along the log. Without it, it may
-- choose another index, because that has the order which a fold asks for, and walk the whole log
-- for each window. IS TRUE keeps it from an index that has the category, for the same reason.
CREATE OR REPLACE VIEW new_events AS
  SELECT *
    FROM foldable_events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[])
     AND (category = 'job') IS TRUE
  OFFSET 0;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM events WHERE category <> 'job') THEN
    RAISE EXCEPTION 'the log holds events of other categories than job, which projections would fold as those of jobs'
      USING HINT = 'Stay at this version.';
  END IF;
END
$$;

CREATE OR REPLACE VIEW new_events AS
  SELECT *
    FROM foldable_events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[])
  OFFSET 0;
