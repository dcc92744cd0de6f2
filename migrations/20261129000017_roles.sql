-- A role for each part of the ledger, with the least that it needs. docs/security.md has all of it
-- as a table. Roles belong to the whole server, so their names begin with the ledger's. None can
-- log in: grant them to the users of your services.
--
-- The ledger itself belongs to LEDGER_owner. So what runs with its owner's rights, as append does,
-- has a ledger's rights and no more, whoever migrated it; and another user can migrate the next
-- time.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Gives to LEDGER_owner what the current user has made here. A migration that makes something ends
-- with it.
CREATE FUNCTION hand_over() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text := current_schema();
  owner CONSTANT text := home || '_owner';
  found record;
BEGIN
  EXECUTE format('ALTER SCHEMA %I OWNER TO %I', home, owner);
  FOR found IN
    SELECT c.relname FROM pg_class AS c
     WHERE c.relnamespace = home::regnamespace AND c.relkind IN ('r', 'v') AND c.relowner = current_user::regrole
  LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', home, found.relname, owner);
  END LOOP;
  FOR found IN
    SELECT oid::regprocedure AS signature FROM pg_proc WHERE pronamespace = home::regnamespace
        AND proowner = current_user::regrole
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', found.signature, owner);
  END LOOP;
  -- Domains and composite types; the row types of tables go with their tables.
  FOR found IN
    SELECT t.oid::regtype AS name, t.typtype = 'd' AS is_domain
      FROM pg_type AS t
      LEFT JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE t.typnamespace = home::regnamespace AND t.typowner = current_user::regrole
         AND (t.typtype = 'd' OR c.relkind = 'c')
  LOOP
    EXECUTE format('ALTER %s %s OWNER TO %I', CASE WHEN found.is_domain THEN 'DOMAIN'
      ELSE 'TYPE' END, found.name, owner);
  END LOOP;
END
$$;

DO $$
DECLARE
  home CONSTANT text := current_schema();
  role text;
BEGIN
  FOREACH role IN ARRAY '{owner,appender,reader,subscriber,relay,projector,sealer,auditor}'::text[] LOOP
    role := home || '_' || role;
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

  -- Whoever migrates has to act for the owner and for projectors, whose tables a rebuild swaps.
  FOREACH role IN ARRAY ARRAY[home || '_owner', home || '_projector'] LOOP
    IF NOT pg_has_role(role, 'MEMBER') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', role);
    END IF;
  END LOOP;
  -- To take over a projector's table, the owner needs the projector's rights: see adopt_table().
  IF NOT pg_has_role(home || '_owner', home || '_projector', 'MEMBER') THEN
    EXECUTE format('GRANT %I TO %I', home || '_projector', home || '_owner');
  END IF;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE EXCEPTION 'the ledger''s roles cannot be set up: %', SQLERRM
    USING HINT = format('Have an administrator migrate, or run before: GRANT %I TO %I',
                        home || '_projector', home || '_owner');
END
$$;

-- In these statements :name stands for the ledger's role of that name.
DO $$
DECLARE
  home  CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA "%s" FROM PUBLIC', home);
  EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA "%s" FROM PUBLIC', home);

  FOREACH statement IN ARRAY string_to_array(rtrim($rights$

    -- An appender appends events, records refusals, and nothing else.
    GRANT EXECUTE ON FUNCTION
      append_event(text, text, json, json, integer, uuid, timestamptz),
      append(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
      append_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint),
      append_to_distinct_jobs(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text,
        bigint),
      forget_turns(text), forget_refusals(),
      note_refusals(bigint[], bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[],
        text[], text[])
      TO :appender;

    -- A reader sees everything but tokens, and changes nothing.
    GRANT SELECT ON ledger, events, foldable_events, checkpoints, leases, subscriptions, feed_key,
      projections, read_models, rebuilds, rebuild_slices, replaced_tables, receipts, skipped_events, drift_checks,
      seal, seal_tiles, seal_checkpoints, refusals, refusal_limits, refusal_days TO :reader;
    GRANT EXECUTE ON FUNCTION head(), history(text), position_at(timestamptz), await_events(bigint, interval, interval),
      longest_lease(), is_held(timestamptz), log_holder(), scopes_of_token(text, bytea), token_name(text),
      exported_line(events) TO :reader;

    -- A subscriber reads the log, and keeps its own place in it.
    GRANT SELECT ON ledger, events, subscriptions, feed_key TO :subscriber;
    GRANT EXECUTE ON FUNCTION head(), take_subscription(text, text, interval, bigint), acknowledge(text, text, bigint),
      release_subscription(text, text), forget_subscription(text) TO :subscriber;

    -- The relay reads the log and keeps its place. It may end a session that holds the log.
    --
    -- Who may update a whole table may also lock it, whatever the row policies say. So the tables
    -- that several parts share are updated by column.
    GRANT SELECT ON ledger, events, checkpoints, leases, feed_key TO :relay;
    GRANT INSERT ON checkpoints, leases TO :relay;
    GRANT UPDATE (position, updated_at) ON checkpoints TO :relay;
    GRANT UPDATE (holder, fence, expires_at) ON leases TO :relay, :projector, :sealer;
    GRANT EXECUTE ON FUNCTION head(), await_events(bigint, interval, interval), expect_epoch(uuid),
      advance_checkpoint(text, bigint, bigint), take_lease(text, text, interval), release_lease(text, text),
      longest_lease(), is_held(timestamptz), log_holder(), end_log_holder(text) TO :relay;

    -- A projector folds the log into tables. It makes them in a schema of its own, for which it
    -- needs CREATE on the database, and the owner takes them over. docs/security.md says how to
    -- grant that.
    GRANT SELECT ON ledger, events, foldable_events, new_events, checkpoints, leases, projections, read_models,
      rebuilds, rebuild_slices, replaced_tables, receipts, skipped_events, drift_checks TO :projector;
    GRANT INSERT ON leases, projections TO :projector;
    GRANT UPDATE (name, definition, position, state, failed_position, error, updated_at, tables, failed_event)
      ON projections TO :projector;
    GRANT INSERT, UPDATE, DELETE ON rebuilds, rebuild_slices, replaced_tables TO :projector;
    GRANT EXECUTE ON FUNCTION head(), history(text), position_at(timestamptz), await_events(bigint, interval, interval),
      take_lease(text, text, interval), release_lease(text, text), longest_lease(), is_held(timestamptz),
      retry_projection(text), skip_event(text, bigint, text, text),
        record_drift_check(text, bigint, bigint, bigint, text),
          record_receipt(text, text, text, bigint, bigint, text, text, bigint, double precision, integer, bigint,
            double precision, text),
      adopt_table(text, text), exchange_tables(text, text[], text), swap_tables(text, text[], text),
        swap_obstacles(text[]), added_indexes(text, text) TO :projector;

    -- A sealer reads the log, and lets the tree grow.
    GRANT SELECT ON ledger, events, leases, seal, seal_tiles, seal_checkpoints TO :sealer;
    GRANT INSERT ON leases TO :sealer;
    GRANT EXECUTE ON FUNCTION head(), await_events(bigint, interval, interval), take_lease(text, text, interval),
      release_lease(text, text), longest_lease(), is_held(timestamptz), stop_seal(text),
      add_to_seal(uuid, bigint, bigint, bytea, integer[], bigint[], bytea[], text, text) TO :sealer;

    -- An auditor reads everything and changes nothing. Of tokens it sees all columns but the
    -- hash.
    GRANT :reader TO :auditor;
    GRANT SELECT (id, name, scopes, created_at, revoked_at) ON tokens TO :auditor;
    GRANT SELECT ON serialiser TO :auditor;

    -- Whoever makes a value of one of the log's types runs these checks.
    GRANT EXECUTE ON FUNCTION is_event_type(text), is_event_time(timestamptz), is_stream_id(text), longest_stream_id()
      TO :reader, :subscriber, :relay, :projector, :sealer;
  $rights$), ';') LOOP
    EXECUTE regexp_replace(statement, ':(\w+)', '"' || home || '_\1"', 'g');
  END LOOP;

  -- The runner of migrations keeps the record of them. A ledger that is made for a trial has none.
  IF to_regclass('schema_migrations') IS NOT NULL THEN
    EXECUTE format('GRANT SELECT ON schema_migrations TO "%s_auditor"', home);
  END IF;
END
$$;

-- Each part takes its own lease, and moves its own checkpoint, so no part can hold up another.
ALTER TABLE leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE checkpoints ENABLE ROW LEVEL SECURITY;
CREATE POLICY leases_all_may_see ON leases FOR SELECT USING (true);
CREATE POLICY checkpoints_all_may_see ON checkpoints FOR SELECT USING (true);
DO $$
DECLARE
  home CONSTANT text := current_schema();
BEGIN
  EXECUTE format($policy$CREATE POLICY leases_of_relay ON leases TO %I
    USING (name = 'relay')$policy$, home || '_relay');
  EXECUTE format($policy$CREATE POLICY leases_of_sealer ON leases TO %I
    USING (name = 'sealer')$policy$, home || '_sealer');
  EXECUTE format($policy$CREATE POLICY leases_of_projectors ON leases TO %I USING (name LIKE 'projection:%%')$policy$,
                 home || '_projector');
  EXECUTE format($policy$CREATE POLICY checkpoints_of_relay ON checkpoints TO %I USING (reader = 'relay')$policy$,
                 home || '_relay');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Everything goes back to the current user. The roles stay: other databases of the server may use
-- them, and their members would be lost.
DO $$
DECLARE
  home CONSTANT text := current_schema();
  role  text;
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
    SELECT oid::regprocedure AS signature FROM pg_proc
     WHERE pronamespace = home::regnamespace AND proowner = (home || '_owner')::regrole
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO CURRENT_USER', found.signature);
  END LOOP;
  FOR found IN
    SELECT t.oid::regtype AS name, t.typtype = 'd' AS is_domain
      FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE t.typnamespace = home::regnamespace AND t.typowner = (home || '_owner')::regrole
         AND (t.typtype = 'd' OR c.relkind = 'c')
  LOOP
    EXECUTE format('ALTER %s %s OWNER TO CURRENT_USER', CASE WHEN found.is_domain THEN 'DOMAIN'
      ELSE 'TYPE' END, found.name);
  END LOOP;
  EXECUTE format('REVOKE SELECT (id, name, scopes, created_at, revoked_at) ON tokens FROM %I', home || '_auditor');
  EXECUTE format('REVOKE %I FROM %I', home || '_reader', home || '_auditor');
  FOREACH role IN ARRAY '{owner,appender,reader,subscriber,relay,projector,sealer,auditor}'::text[] LOOP
    role := home || '_' || role;
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
