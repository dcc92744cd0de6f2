-- What others rely on is written by functions, with the owner's rights: they take the author and the time from the session. And nobody but the owner makes
-- anything in the ledger's schema, where a function or an operator of another's could come before those that the ledger's own functions mean.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Until now projectors could make more than tables here.
DO $$
DECLARE
  home  CONSTANT regnamespace := current_schema()::regnamespace;
  owner CONSTANT regrole      := (current_schema() || '_owner')::regrole;
  strangers CONSTANT text := (
    SELECT string_agg(what || ' of ' || pg_get_userbyid(of), ', ')
      FROM (SELECT oid::regprocedure::text, proowner FROM pg_proc WHERE pronamespace = home
            UNION ALL SELECT 'operator ' || oid::regoperator, oprowner FROM pg_operator WHERE oprnamespace = home
            UNION ALL SELECT 'type ' || oid::regtype, typowner FROM pg_type WHERE typnamespace = home AND typtype IN ('d', 'e', 'r')) AS made (what, of)
     WHERE NOT pg_has_role(of, owner, 'MEMBER'));
BEGIN
  IF strangers IS NOT NULL THEN
    RAISE EXCEPTION 'the schema % has what is not the ledger''s: %', home, strangers
      USING HINT = 'It could be run with the rights of the ledger''s owner. Find out who made it and why, and drop it.';
  END IF;
END
$$;

-- Gives to LEDGER_owner what the current user has made here. A migration that makes something ends with it. Read models are LEDGER_projector's from
-- the moment that they are made, so nothing has to be believed about which tables those are.
CREATE OR REPLACE FUNCTION hand_over() RETURNS void
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

-- Read models that an older program made as another user go to the projector. The ledger's own tables are the owner's by now, whatever is
-- registered as a projection's.
DO $$
DECLARE
  home      CONSTANT text := current_schema();
  projector CONSTANT text := home || '_projector';
  -- Beforehand: a table that a loop reads cannot be altered in it.
  names CONSTANT text[] := ARRAY(
    SELECT c.relname FROM pg_class AS c
     WHERE c.relnamespace = home::regnamespace AND c.relkind = 'r'
       AND c.relowner NOT IN ((home || '_owner')::regrole, projector::regrole) AND pg_has_role(c.relowner, 'MEMBER')
       AND c.relname = ANY (ARRAY(SELECT unnest(tables) FROM projections) || ARRAY['batch_jobs', 'batch_job_runs', 'daily_job_stats', 'audit_log']));
  -- What rebuilds have made, and what they have replaced.
  beside CONSTANT text[] := ARRAY(
    SELECT n.nspname FROM pg_namespace AS n
     WHERE n.nspname IN (SELECT home || '-' || id FROM rebuilds UNION ALL SELECT home || '~' || id FROM replaced_tables)
       AND n.nspowner <> projector::regrole AND pg_has_role(n.nspowner, 'MEMBER'));
  name  text;
  found record;
BEGIN
  FOREACH name IN ARRAY names LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', home, name, projector);
  END LOOP;
  FOREACH name IN ARRAY beside LOOP
    EXECUTE format('ALTER SCHEMA %I OWNER TO %I', name, projector);
    FOR found IN SELECT oid::regclass AS relation FROM pg_class WHERE relnamespace = quote_ident(name)::regnamespace AND relkind = 'r' LOOP
      EXECUTE format('ALTER TABLE %s OWNER TO %I', found.relation, projector);
    END LOOP;
  END LOOP;
  EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', home, projector);
  -- Who moves a table has to have it: see adopt_table.
  IF NOT pg_has_role(home || '_owner', projector, 'MEMBER') THEN
    EXECUTE format('GRANT %I TO %I', projector, home || '_owner');
  END IF;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE EXCEPTION 'the read models cannot be given to %: %', projector, SQLERRM
    USING HINT = format('Have an administrator migrate, or run before: GRANT %I TO %I', projector, home || '_owner');
END
$$;

-- Moves a read model in from a schema beside the ledger's. A table that is LEDGER_projector's, and of a name that is free: what belongs to the
-- ledger cannot be replaced so, and nothing but tables comes in.
CREATE FUNCTION adopt_table(from_schema text, name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text     := current_schema();
  fresh CONSTANT regclass := to_regclass(format('%I.%I', from_schema, name));
BEGIN
  IF NOT EXISTS (SELECT FROM pg_class WHERE oid = fresh AND relkind = 'r' AND relowner = (home || '_projector')::regrole) THEN
    RAISE EXCEPTION '%.% is no table of %', from_schema, name, home || '_projector'
      USING ERRCODE = 'insufficient_privilege', HINT = format('As its owner: ALTER TABLE %I.%I OWNER TO %I', from_schema, name, home || '_projector');
  END IF;
  EXECUTE format('ALTER TABLE %I.%I SET SCHEMA %I', from_schema, name, home);
END
$$;

-- Puts fresh_schema.name where the ledger's table of that name is, in the caller's transaction; that one goes to aside_schema, or away
-- where that is null. With it come to the new table: grants, also of columns; row security and its policies; triggers; and the views that read the old
-- one, with their options. Where there is no fresh table, the old one only goes. Both have to be LEDGER_projector's: which tables a projection has is
-- what projectors say, and whoever swaps may have more rights than they.
CREATE OR REPLACE FUNCTION swap_table(fresh_schema text, name text, aside_schema text DEFAULT null) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text     := current_schema();
  old   CONSTANT regclass := to_regclass(format('%I.%I', home, name));
  fresh CONSTANT regclass := to_regclass(format('%I.%I', fresh_schema, name));
  found      record;
  statements text[] := '{}';
  statement  text;
BEGIN
  IF old IS NOT NULL THEN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = old AND relkind = 'r' AND relowner = (home || '_projector')::regrole) THEN
      RAISE EXCEPTION '%.% is not replaced: it is no table of %', home, name, home || '_projector'
        USING ERRCODE = 'insufficient_privilege',
              HINT = format('Where it is a read model, as its owner: ALTER TABLE %I.%I OWNER TO %I', home, name, home || '_projector');
    END IF;
    FOR found IN
      SELECT DISTINCT view.oid, ' WITH (' || array_to_string(view.reloptions, ', ') || ')' AS options
        FROM pg_depend
        JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = 'pg_rewrite'::regclass
        JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class
       WHERE pg_depend.refclassid = 'pg_class'::regclass AND pg_depend.refobjid = old AND view.relkind = 'v'
    LOOP
      IF fresh IS NULL THEN
        RAISE EXCEPTION 'the table % cannot go: the view % reads it', name, found.oid::regclass
          USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop the view.';
      END IF;
      statements := statements
        || format('CREATE OR REPLACE VIEW %s%s AS %s', found.oid::regclass, found.options, pg_get_viewdef(found.oid));
    END LOOP;
  END IF;

  IF old IS NOT NULL AND fresh IS NOT NULL THEN
    FOR found IN
      SELECT privilege_type, is_grantable, columns, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
        FROM (SELECT relacl AS acl, relowner, null AS columns FROM pg_class WHERE oid = old
              UNION ALL
              SELECT attacl, relowner, format('(%I)', attname)
                FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
               WHERE attrelid = old AND attnum > 0 AND NOT attisdropped
                 AND attname IN (SELECT attname FROM pg_attribute WHERE attrelid = fresh)) AS granted,
             aclexplode(acl)
       WHERE grantee <> relowner
    LOOP
      EXECUTE format('GRANT %s %s ON %s TO %s %s', found.privilege_type, found.columns, fresh, found.grantee,
                     CASE WHEN found.is_grantable THEN 'WITH GRANT OPTION' END);
    END LOOP;

    FOR found IN
      SELECT p.polname, CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END AS kind,
             CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
             (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ') FROM unnest(polroles) AS role) AS roles,
             ' USING (' || pg_get_expr(polqual, polrelid) || ')' AS condition,
             ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')' AS checked
        FROM pg_policy AS p
       WHERE polrelid = old AND NOT EXISTS (SELECT FROM pg_policy AS own WHERE own.polrelid = fresh AND own.polname = p.polname)
    LOOP
      EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', found.polname, fresh, found.kind, found.command, found.roles,
                     found.condition, found.checked);
    END LOOP;
    SELECT relrowsecurity, relforcerowsecurity INTO found FROM pg_class WHERE oid = old;
    IF found.relrowsecurity THEN EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', fresh); END IF;
    IF found.relforcerowsecurity THEN EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', fresh); END IF;

    -- Their texts name the table where it is now, and is again when they are run.
    FOR found IN
      SELECT t.tgname, pg_get_triggerdef(t.oid) AS definition, t.tgenabled
        FROM pg_trigger AS t
       WHERE tgrelid = old AND NOT tgisinternal
         AND NOT EXISTS (SELECT FROM pg_trigger AS own WHERE own.tgrelid = fresh AND own.tgname = t.tgname)
    LOOP
      statements := statements || found.definition;
      IF found.tgenabled <> 'O' THEN
        statements := statements
          || format('ALTER TABLE %I.%I %s TRIGGER %I', home, name,
                    CASE found.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, found.tgname);
      END IF;
    END LOOP;
  END IF;

  -- Out of the way with its indexes, so that the views can be bound to the new table. Two tables of one name cannot meet in one
  -- schema, hence the third.
  IF old IS NOT NULL THEN
    IF aside_schema IS NULL THEN EXECUTE format('CREATE SCHEMA %I', fresh_schema || '_old'); END IF;
    EXECUTE format('ALTER TABLE %s SET SCHEMA %I', old, coalesce(aside_schema, fresh_schema || '_old'));
  END IF;
  IF fresh IS NOT NULL THEN
    PERFORM adopt_table(fresh_schema, name);
  END IF;
  FOREACH statement IN ARRAY statements LOOP
    EXECUTE statement;
  END LOOP;
  IF old IS NOT NULL AND aside_schema IS NULL THEN
    EXECUTE format('DROP TABLE %s', old);
    EXECUTE format('DROP SCHEMA %I', fresh_schema || '_old');
  END IF;
END
$$;

-- Rebuilds keep the names of the indexes that they have yet to make. Kept as statements, they were run with the rights of whoever went on.
UPDATE rebuilds SET indexes = ARRAY(
  SELECT replace(trim('"' FROM (regexp_match(statement, '^CREATE INDEX ("(?:[^"]|"")+"|[^ ]+) ON '))[1]), '""', '"')
    FROM unnest(indexes) AS statement);

-- Skips. What was written before may be longer.
ALTER TABLE skipped_events
  ADD CONSTRAINT skipped_events_lengths CHECK (length(error) <= 4000 AND length(reason) <= 4000 AND length(skipped_by) <= 300) NOT VALID;

-- Leaves out the event that has stopped a projection, or a rebuild of it, and sets it going again. Only that one can be left out:
-- what is folded already would be in the tables, and not in their rebuild. With the owner's rights, and in no other way: the role is the session's
-- user. That it is stopped there is what a projector says; so verify tries each event that was skipped.
CREATE OR REPLACE FUNCTION skip_event(of_projection text, at_position bigint, because text, by text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  skipped CONSTANT uuid := (SELECT e.event_id FROM events AS e WHERE e.position = at_position);
BEGIN
  INSERT INTO skipped_events (projection, definition, position, event_id, error, reason, skipped_by)
  SELECT DISTINCT ON (stopped.definition) of_projection, stopped.definition, at_position, skipped, left(stopped.error, 4000), because, left(by, 300)
    FROM (SELECT definition, failed_position, error FROM projections
           WHERE name = of_projection AND state = 'stopped' AND position = at_position - 1
          UNION ALL
          SELECT definition, failed_position, error FROM rebuilds WHERE projection = of_projection AND error IS NOT NULL) AS stopped
   WHERE stopped.failed_position = at_position;
  IF NOT found THEN
    RAISE EXCEPTION 'nothing skipped: % is not stopped at position %', of_projection, at_position
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Only the event that has stopped a projection can be skipped; jobledger status names it.';
  END IF;
  PERFORM retry_projection(of_projection);
  RETURN skipped;
END
$$;

-- Receipts.
ALTER TABLE receipts
  ADD COLUMN left_out bigint,  -- how many events were skipped up to the position; null where that was before this column
  ADD CONSTRAINT receipts_left_out_countable CHECK (left_out BETWEEN 0 AND 4611686018427387903),
  ADD CONSTRAINT receipts_lengths CHECK (length(projection) <= 100 AND length(definition) <= 100 AND length(made_by) <= 300) NOT VALID;

-- Writes down what a rebuild, a verification or an undoing has found. The time and the role are the session's, and what was left out is counted here; the
-- rest is what that role says.
CREATE FUNCTION record_receipt(
  of_kind text, of_projection text, of_definition text, at_position bigint, row_count bigint, of_digest text, of_live_digest text, event_count bigint,
  in_seconds double precision, worker_count integer, events_a_window bigint, blocked_milliseconds double precision, by text
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO receipts (kind, projection, definition, position, rows, digest, live_digest, events, seconds, workers, window_events, blocked_ms, made_by,
                        left_out)
  VALUES (of_kind, of_projection, of_definition, at_position, row_count, of_digest, of_live_digest, event_count, in_seconds, worker_count,
          events_a_window, blocked_milliseconds, left(by, 300),
          (SELECT count(*) FROM skipped_events AS s WHERE s.projection = of_projection AND s.definition = of_definition AND s.position <= at_position))
  RETURNING number;
END;

-- Drift.
ALTER TABLE drift_checks
  ADD COLUMN checked_by text,  -- null where that was before this column
  ADD CONSTRAINT drift_checks_lengths CHECK (length(projection) <= 100 AND length(last_drift) <= 4000) NOT VALID;

-- Writes down what a comparison has found. Counts only grow: what was found once is not taken back.
CREATE FUNCTION record_drift_check(of_projection text, compared bigint, differing bigint, at_position bigint, what_differs text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF NOT coalesce(compared BETWEEN 0 AND 1000000 AND differing BETWEEN 0 AND compared, false) THEN
    RAISE EXCEPTION '% of % jobs cannot have differed in one comparison', differing, compared USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO drift_checks AS known (projection, jobs, drifted, position, last_drift, checked_by)
  VALUES (of_projection, compared, differing, at_position, left(what_differs, 4000), session_user)
  ON CONFLICT (projection) DO UPDATE
     SET jobs = known.jobs + excluded.jobs, drifted = known.drifted + excluded.drifted, position = excluded.position, checked_at = clock_timestamp(),
         checked_by = session_user, last_drift = coalesce(excluded.last_drift, known.last_drift);
END
$$;

REVOKE ALL ON FUNCTION adopt_table(text, text), record_drift_check(text, bigint, bigint, bigint, text),
  record_receipt(text, text, text, bigint, bigint, text, text, bigint, double precision, integer, bigint, double precision, text) FROM PUBLIC;
DO $$
DECLARE
  projector CONSTANT text := current_schema() || '_projector';
BEGIN
  EXECUTE format('REVOKE INSERT, UPDATE ON receipts, skipped_events, drift_checks FROM %I', projector);
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION adopt_table(text, text), record_drift_check(text, bigint, bigint, bigint, text),
       record_receipt(text, text, text, bigint, bigint, text, text, bigint, double precision, integer, bigint, double precision, text) TO %I', projector);
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM rebuilds) THEN
    RAISE EXCEPTION 'there are rebuilds under way: what they keep of their indexes is of no use to an older program'
      USING HINT = 'jobledger rebuild --cancel gives one up.';
  END IF;
END
$$;

-- As it was; read models stay the projector's.
DROP FUNCTION record_drift_check(text, bigint, bigint, bigint, text);
DROP FUNCTION record_receipt(text, text, text, bigint, bigint, text, text, bigint, double precision, integer, bigint, double precision, text);
ALTER TABLE drift_checks DROP CONSTRAINT drift_checks_lengths, DROP COLUMN checked_by;
ALTER TABLE receipts DROP CONSTRAINT receipts_lengths, DROP COLUMN left_out;
ALTER TABLE skipped_events DROP CONSTRAINT skipped_events_lengths;
DO $$
DECLARE
  home      CONSTANT text := current_schema();
  projector CONSTANT text := home || '_projector';
BEGIN
  EXECUTE format('GRANT INSERT ON receipts, skipped_events TO %I', projector);
  EXECUTE format('GRANT INSERT, UPDATE ON drift_checks TO %I', projector);
  EXECUTE format('GRANT CREATE ON SCHEMA %I TO %I', home, projector);
  EXECUTE format('REVOKE %I FROM %I', projector, home || '_owner');
END
$$;

CREATE OR REPLACE FUNCTION skip_event(of_projection text, at_position bigint, because text, by text) RETURNS uuid
LANGUAGE plpgsql SECURITY INVOKER SET search_path FROM CURRENT AS $$
DECLARE
  skipped CONSTANT uuid := (SELECT e.event_id FROM events AS e WHERE e.position = at_position);
BEGIN
  INSERT INTO skipped_events (projection, definition, position, event_id, error, reason, skipped_by)
  SELECT DISTINCT ON (stopped.definition) of_projection, stopped.definition, at_position, skipped, stopped.error, because, by
    FROM (SELECT definition, failed_position, error FROM projections WHERE name = of_projection AND state = 'stopped'
          UNION ALL
          SELECT definition, failed_position, error FROM rebuilds WHERE projection = of_projection AND error IS NOT NULL) AS stopped
   WHERE stopped.failed_position = at_position;
  IF NOT found THEN
    RAISE EXCEPTION 'nothing skipped: % is not stopped at position %', of_projection, at_position
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Only the event that has stopped a projection can be skipped; jobledger status names it.';
  END IF;
  PERFORM retry_projection(of_projection);
  RETURN skipped;
END
$$;

CREATE OR REPLACE FUNCTION swap_table(fresh_schema text, name text, aside_schema text DEFAULT null) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text     := current_schema();
  old   CONSTANT regclass := to_regclass(format('%I.%I', home, name));
  fresh CONSTANT regclass := to_regclass(format('%I.%I', fresh_schema, name));
  found      record;
  statements text[] := '{}';
  statement  text;
BEGIN
  IF old IS NOT NULL THEN
    FOR found IN
      SELECT DISTINCT view.oid, ' WITH (' || array_to_string(view.reloptions, ', ') || ')' AS options
        FROM pg_depend
        JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = 'pg_rewrite'::regclass
        JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class
       WHERE pg_depend.refclassid = 'pg_class'::regclass AND pg_depend.refobjid = old AND view.relkind = 'v'
    LOOP
      IF fresh IS NULL THEN
        RAISE EXCEPTION 'the table % cannot go: the view % reads it', name, found.oid::regclass
          USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop the view.';
      END IF;
      statements := statements
        || format('CREATE OR REPLACE VIEW %s%s AS %s', found.oid::regclass, found.options, pg_get_viewdef(found.oid));
    END LOOP;
  END IF;

  IF old IS NOT NULL AND fresh IS NOT NULL THEN
    FOR found IN
      SELECT privilege_type, is_grantable, columns, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
        FROM (SELECT relacl AS acl, relowner, null AS columns FROM pg_class WHERE oid = old
              UNION ALL
              SELECT attacl, relowner, format('(%I)', attname)
                FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
               WHERE attrelid = old AND attnum > 0 AND NOT attisdropped
                 AND attname IN (SELECT attname FROM pg_attribute WHERE attrelid = fresh)) AS granted,
             aclexplode(acl)
       WHERE grantee <> relowner
    LOOP
      EXECUTE format('GRANT %s %s ON %s TO %s %s', found.privilege_type, found.columns, fresh, found.grantee,
                     CASE WHEN found.is_grantable THEN 'WITH GRANT OPTION' END);
    END LOOP;

    FOR found IN
      SELECT p.polname, CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END AS kind,
             CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
             (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ') FROM unnest(polroles) AS role) AS roles,
             ' USING (' || pg_get_expr(polqual, polrelid) || ')' AS condition,
             ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')' AS checked
        FROM pg_policy AS p
       WHERE polrelid = old AND NOT EXISTS (SELECT FROM pg_policy AS own WHERE own.polrelid = fresh AND own.polname = p.polname)
    LOOP
      EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', found.polname, fresh, found.kind, found.command, found.roles,
                     found.condition, found.checked);
    END LOOP;
    SELECT relrowsecurity, relforcerowsecurity INTO found FROM pg_class WHERE oid = old;
    IF found.relrowsecurity THEN EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', fresh); END IF;
    IF found.relforcerowsecurity THEN EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', fresh); END IF;

    -- Their texts name the table where it is now, and is again when they are run.
    FOR found IN
      SELECT t.tgname, pg_get_triggerdef(t.oid) AS definition, t.tgenabled
        FROM pg_trigger AS t
       WHERE tgrelid = old AND NOT tgisinternal
         AND NOT EXISTS (SELECT FROM pg_trigger AS own WHERE own.tgrelid = fresh AND own.tgname = t.tgname)
    LOOP
      statements := statements || found.definition;
      IF found.tgenabled <> 'O' THEN
        statements := statements
          || format('ALTER TABLE %I.%I %s TRIGGER %I', home, name,
                    CASE found.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, found.tgname);
      END IF;
    END LOOP;
  END IF;

  -- Out of the way with its indexes, so that the views can be bound to the new table. Two tables of one name cannot meet in one
  -- schema, hence the third.
  IF old IS NOT NULL THEN
    IF aside_schema IS NULL THEN EXECUTE format('CREATE SCHEMA %I', fresh_schema || '_old'); END IF;
    EXECUTE format('ALTER TABLE %s SET SCHEMA %I', old, coalesce(aside_schema, fresh_schema || '_old'));
  END IF;
  IF fresh IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %s SET SCHEMA %I', fresh, home);
  END IF;
  FOREACH statement IN ARRAY statements LOOP
    EXECUTE statement;
  END LOOP;
  IF old IS NOT NULL AND aside_schema IS NULL THEN
    EXECUTE format('DROP TABLE %s', old);
    EXECUTE format('DROP SCHEMA %I', fresh_schema || '_old');
  END IF;
END
$$;

DROP FUNCTION adopt_table(text, text);

-- Gives to LEDGER_owner what the current user has made here, and the read models to LEDGER_projector, which replaces them. A migration that
-- makes something ends with it.
CREATE OR REPLACE FUNCTION hand_over() RETURNS void
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

SELECT hand_over();
