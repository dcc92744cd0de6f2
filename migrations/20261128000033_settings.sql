-- Functions whose text is read by what the session has set carry their own setting: a role with standard_conforming_strings = off reads their
-- backslashes otherwise. What they call has the same then.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{append_event,append_batch,append_one_each,import_events}'::text[] LOOP
    EXECUTE format('ALTER FUNCTION %I SET standard_conforming_strings = on', name);
  END LOOP;
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{append_event,append_batch,append_one_each,import_events}'::text[] LOOP
    EXECUTE format('ALTER FUNCTION %I RESET standard_conforming_strings', name);
  END LOOP;
END
$$;
