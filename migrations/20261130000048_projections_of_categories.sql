-- Projections fold events of any category. Types of two categories may have the same name, so an
-- event is chosen by both.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The events that the definition of a projection consumes, in whatever part of the log. The engine
-- sets which these are for each transaction: types of jobs, and kinds of events of other categories
-- as CATEGORY/TYPE, or * for every event. The settings are queries of their own, so that each is
-- split once and not for each event. CASE spares events of jobs the longer comparison, and offers
-- Postgres no category to look for in an index.
CREATE VIEW consumed_events AS
  SELECT *
    FROM foldable_events
   WHERE CASE category
           WHEN 'job'
             THEN type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[])
           ELSE category || '/' || type
                  = ANY ((SELECT string_to_array(current_setting('jobledger.window_kinds'), ','))::text[])
                OR current_setting('jobledger.window_kinds') = '*'
         END;

-- The window of events that a projection folds: what apply.sql reads. The engine sets its bounds
-- for each transaction. OFFSET 0 makes Postgres read a window along the log. Without it, it may
-- choose another index, because that has the order which a fold asks for, and walk the whole log
-- for each window.
CREATE OR REPLACE VIEW new_events AS
  SELECT *
    FROM consumed_events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
  OFFSET 0;

DO $$
BEGIN
  EXECUTE format('GRANT SELECT ON consumed_events TO %I, %I', current_schema() || '_reader',
                 current_schema() || '_projector');
END
$$;

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

DROP VIEW consumed_events;
