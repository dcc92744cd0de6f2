-- Who may do what. Roles belong to the whole server, so their names carry the ledger's: with the schema jobledger they are
-- jobledger_appender and jobledger_reader. Grant them to the users of your services; they cannot log in themselves.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY[current_schema() || '_appender', current_schema() || '_reader'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role);
      EXCEPTION
        WHEN duplicate_object OR unique_violation THEN
          NULL;  -- another ledger of this name, in another database, was made at this moment
        WHEN insufficient_privilege THEN
          RAISE EXCEPTION 'the role % is missing, and % may not create roles', role, current_user
            USING HINT = format('Have an administrator run: CREATE ROLE %I NOLOGIN', role);
      END;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role);
  END LOOP;

  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM PUBLIC', current_schema());
  EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', current_schema());

  -- An appender can append, and nothing else.
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
                               append_event(text, text, json, json, integer, uuid, timestamptz) TO %I',
    current_schema() || '_appender');

  -- A reader sees the log and the read models (the projector grants those when it makes them), and changes nothing.
  EXECUTE format('GRANT SELECT ON ledger, events, checkpoints, projections, leases TO %I', current_schema() || '_reader');
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION head(), history(text), position_at(timestamptz) TO %I', current_schema() || '_reader');
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The roles stay: other databases of the server may use them, and members would be lost.
DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY[current_schema() || '_appender', current_schema() || '_reader'] LOOP
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), role);
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM %I', current_schema(), role);
    EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM %I', current_schema(), role);
  END LOOP;
END
$$;
