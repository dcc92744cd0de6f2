-- A role for each part of the ledger, with the least that it needs; docs/security.md has all of it as a table. None of them can log in: grant them
-- to the users of your services.
--
-- The ledger itself belongs to LEDGER_owner, so that what runs with its owner's rights, as append does, has no more than a ledger's,
-- whoever has migrated it; and so that this user can be another one the next time.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Gives to LEDGER_owner what the current user has made here, and the read models to LEDGER_projector, which replaces them. A migration that
-- makes something ends with it.
CREATE FUNCTION hand_over() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home      CONSTANT text := current_schema();
  owner     CONSTANT text := home || '_owner';
  projector CONSTANT text := home || '_projector';
  -- Beforehand: a table that a loop reads cannot be altered in it.
  read_models CONSTANT text[] := ARRAY(SELECT unnest(tables) FROM projections) || ARRAY['batch_jobs', 'batch_job_runs', 'daily_job_stats', 'audit_log'];
  found record;
BEGIN
  EXECUTE format('ALTER SCHEMA %I OWNER TO %I', home, owner);
  FOR found IN
    SELECT c.relname, c.relname = ANY (read_models) AS is_read_model
      FROM pg_class AS c
     WHERE c.relnamespace = home::regnamespace AND c.relkind IN ('r', 'v') AND c.relowner = current_user::regrole
  LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', home, found.relname, CASE WHEN found.is_read_model THEN projector ELSE owner END);
  END LOOP;
  FOR found IN
    SELECT oid::regprocedure AS signature FROM pg_proc WHERE pronamespace = home::regnamespace AND proowner = current_user::regrole
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', found.signature, owner);
  END LOOP;
  -- Domains and composite types; the row types of tables go with their tables.
  FOR found IN
    SELECT t.oid::regtype AS name, t.typtype = 'd' AS is_domain
      FROM pg_type AS t
      LEFT JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE t.typnamespace = home::regnamespace AND t.typowner = current_user::regrole AND (t.typtype = 'd' OR c.relkind = 'c')
  LOOP
    EXECUTE format('ALTER %s %s OWNER TO %I', CASE WHEN found.is_domain THEN 'DOMAIN' ELSE 'TYPE' END, found.name, owner);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION hand_over() FROM PUBLIC;

DO $$
DECLARE
  home CONSTANT text := current_schema();
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY[home || '_owner', home || '_projector', home || '_relay', home || '_sealer', home || '_auditor'] LOOP
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
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', home, role);
  END LOOP;

  -- Who migrates has to act for the owner from now on, and for the owner of the read models.
  FOREACH role IN ARRAY ARRAY[home || '_owner', home || '_projector'] LOOP
    IF NOT pg_has_role(role, 'MEMBER') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', role);
    END IF;
  END LOOP;

  -- The relay reads the log and keeps its place.
  EXECUTE format('GRANT SELECT ON ledger, events, checkpoints, leases TO %I', home || '_relay');
  EXECUTE format('GRANT INSERT, UPDATE ON checkpoints, leases TO %I', home || '_relay');
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION head(), await_events(bigint, interval, interval), advance_checkpoint(text, bigint, bigint),
                               take_lease(text, text, interval), release_lease(text, text) TO %I', home || '_relay');

  -- A projector folds the log into tables, and makes and replaces these.
  EXECUTE format('GRANT CREATE ON SCHEMA %I TO %I', home, home || '_projector');
  EXECUTE format(
    'GRANT SELECT ON ledger, events, new_events, checkpoints, projections, leases, rebuilds, rebuild_slices, replaced_tables, receipts,
                     skipped_events, drift_checks TO %I', home || '_projector');
  EXECUTE format(
    'GRANT INSERT, UPDATE, DELETE ON projections, rebuilds, rebuild_slices, replaced_tables TO %I', home || '_projector');
  EXECUTE format('GRANT INSERT, UPDATE ON leases, drift_checks TO %I', home || '_projector');
  EXECUTE format('GRANT INSERT ON receipts, skipped_events TO %I', home || '_projector');
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION head(), history(text), position_at(timestamptz), await_events(bigint, interval, interval),
                               take_lease(text, text, interval), release_lease(text, text), swap_obstacles(text[]), added_indexes(text, text),
                               swap_table(text, text, text), swap_tables(text, text[], text), retry_projection(text),
                               skip_event(text, bigint, text, text) TO %I', home || '_projector');
  -- A rebuild has a schema of its own, and for that a projector needs CREATE on the database, which is for its owner to give: docs/security.md.

  -- A sealer reads the log, and lets the tree grow.
  EXECUTE format('GRANT SELECT ON ledger, events, leases, seal, seal_tiles, seal_checkpoints TO %I', home || '_sealer');
  EXECUTE format('GRANT INSERT, UPDATE ON leases TO %I', home || '_sealer');
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION head(), await_events(bigint, interval, interval), take_lease(text, text, interval), release_lease(text, text),
                               add_to_seal(uuid, bigint, bigint, bytea, integer[], bigint[], bytea[], text, text), stop_seal(text) TO %I',
    home || '_sealer');

  -- An auditor reads everything, and changes nothing; of tokens all but what they are checked by.
  EXECUTE format('GRANT %I TO %I', home || '_reader', home || '_auditor');
  EXECUTE format('GRANT SELECT (id, name, scopes, created_at, revoked_at) ON tokens TO %I', home || '_auditor');
  EXECUTE format('GRANT SELECT ON serialiser TO %I', home || '_auditor');
  -- Whoever migrates keeps the record of it; a ledger that is made for a trial has none.
  IF to_regclass('schema_migrations') IS NOT NULL THEN
    EXECUTE format('GRANT SELECT ON schema_migrations TO %I', home || '_auditor');
  END IF;
END
$$;

-- Each takes its own lease, and moves its own checkpoint: no part of the ledger can hold up another.
ALTER TABLE leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE checkpoints ENABLE ROW LEVEL SECURITY;
CREATE POLICY leases_all_may_see ON leases FOR SELECT USING (true);
CREATE POLICY checkpoints_all_may_see ON checkpoints FOR SELECT USING (true);
DO $$
DECLARE
  home CONSTANT text := current_schema();
BEGIN
  EXECUTE format($policy$CREATE POLICY leases_of_relay ON leases TO %I USING (name = 'relay')$policy$, home || '_relay');
  EXECUTE format($policy$CREATE POLICY leases_of_sealer ON leases TO %I USING (name = 'sealer')$policy$, home || '_sealer');
  EXECUTE format($policy$CREATE POLICY leases_of_projectors ON leases TO %I USING (name LIKE 'projection:%%')$policy$, home || '_projector');
  EXECUTE format($policy$CREATE POLICY checkpoints_of_relay ON checkpoints TO %I USING (reader = 'relay')$policy$, home || '_relay');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The roles stay: other databases of the server may use them, and members would be lost.
DO $$
DECLARE
  home CONSTANT text := current_schema();
  role text;
  found record;
BEGIN
  EXECUTE format('ALTER SCHEMA %I OWNER TO CURRENT_USER', home);
  FOR found IN
    SELECT relname FROM pg_class WHERE relnamespace = home::regnamespace AND relkind IN ('r', 'v')
       AND relowner IN ((home || '_owner')::regrole, (home || '_projector')::regrole)
  LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO CURRENT_USER', home, found.relname);
  END LOOP;
  FOR found IN
    SELECT oid::regprocedure AS signature FROM pg_proc WHERE pronamespace = home::regnamespace AND proowner = (home || '_owner')::regrole
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO CURRENT_USER', found.signature);
  END LOOP;
  FOR found IN
    SELECT t.oid::regtype AS name, t.typtype = 'd' AS is_domain
      FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE t.typnamespace = home::regnamespace AND t.typowner = (home || '_owner')::regrole AND (t.typtype = 'd' OR c.relkind = 'c')
  LOOP
    EXECUTE format('ALTER %s %s OWNER TO CURRENT_USER', CASE WHEN found.is_domain THEN 'DOMAIN' ELSE 'TYPE' END, found.name);
  END LOOP;
  EXECUTE format('REVOKE SELECT (id, name, scopes, created_at, revoked_at) ON tokens FROM %I', home || '_auditor');
  EXECUTE format('REVOKE %I FROM %I', home || '_reader', home || '_auditor');
  FOREACH role IN ARRAY ARRAY[home || '_owner', home || '_projector', home || '_relay', home || '_sealer', home || '_auditor'] LOOP
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', home, role);
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM %I', home, role);
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', home, role);
  END LOOP;
END
$$;
DROP POLICY checkpoints_of_relay ON checkpoints;
DROP POLICY leases_of_projectors ON leases;
DROP POLICY leases_of_sealer ON leases;
DROP POLICY leases_of_relay ON leases;
DROP POLICY checkpoints_all_may_see ON checkpoints;
DROP POLICY leases_all_may_see ON leases;
ALTER TABLE checkpoints DISABLE ROW LEVEL SECURITY;
ALTER TABLE leases DISABLE ROW LEVEL SECURITY;
DROP FUNCTION hand_over();
