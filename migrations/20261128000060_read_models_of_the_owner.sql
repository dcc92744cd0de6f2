-- A read model belongs to the ledger's owner, and projectors write its rows. Whoever owns a table has others run code: triggers and constraints run with
-- the rights of who writes to it, policies and rules with those of who reads it. So a projector makes a table, and the ledger takes it over, after it has
-- looked at what would come with it.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The tables that were taken over. Which tables a projection says it has is what projectors say; this is what is so.
CREATE TABLE read_models (
  name text COLLATE "C" NOT NULL,

  CONSTRAINT read_models_pkey PRIMARY KEY (name)
);

-- What a table, its indexes, its constraints and its defaults make use of and a stranger has made, in words. A stranger is who is neither a superuser nor
-- has the rights of the ledger's owner.
CREATE FUNCTION uses_of_strangers(model regclass) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  WITH RECURSIVE part (classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, model::oid
    UNION
    SELECT d.classid, d.objid
      FROM part JOIN pg_depend AS d ON d.refclassid = part.classid AND d.refobjid = part.objid
     WHERE d.deptype IN ('a', 'i')
  ),
  used AS (
    SELECT DISTINCT d.refclassid AS classid, d.refobjid AS objid, d.refobjsubid AS column_number
      FROM part JOIN pg_depend AS d ON d.classid = part.classid AND d.objid = part.objid
     WHERE (d.refclassid, d.refobjid) NOT IN (SELECT part.classid, part.objid FROM part)
  ),
  owned AS (
    SELECT used.*, coalesce(
             (SELECT proowner FROM pg_proc WHERE classid = 'pg_proc'::regclass AND oid = objid),
             (SELECT typowner FROM pg_type WHERE classid = 'pg_type'::regclass AND oid = objid),
             (SELECT oprowner FROM pg_operator WHERE classid = 'pg_operator'::regclass AND oid = objid),
             (SELECT opcowner FROM pg_opclass WHERE classid = 'pg_opclass'::regclass AND oid = objid),
             (SELECT opfowner FROM pg_opfamily WHERE classid = 'pg_opfamily'::regclass AND oid = objid),
             (SELECT collowner FROM pg_collation WHERE classid = 'pg_collation'::regclass AND oid = objid),
             (SELECT relowner FROM pg_class WHERE classid = 'pg_class'::regclass AND oid = objid)) AS owner
      FROM used
  )
  SELECT pg_describe_object(classid, objid, column_number) || ' of ' || pg_get_userbyid(owner)
    FROM owned
   WHERE NOT pg_has_role(owner, (current_schema() || '_owner')::regrole, 'MEMBER')
$$;

-- Makes a table of LEDGER_projector the owner's, for good: from here on nobody but the owner gives it triggers, policies or rules. It has to be a plain
-- table, with nothing in it that would run a stranger's code, but for what somebody gave to the table that it replaces, such as an index.
CREATE FUNCTION take_over(model regclass, in_place_of regclass) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  owner   CONSTANT text := current_schema() || '_owner';
  name    CONSTANT text := model::text;
  found   record;
  problem text;
BEGIN
  -- First the lock: nothing is added after it was looked for.
  EXECUTE format('ALTER TABLE %s OWNER TO %I', model, owner);
  SELECT CASE
           WHEN relkind <> 'r' OR relispartition OR EXISTS (SELECT FROM pg_inherits WHERE model IN (inhrelid, inhparent)) THEN 'it is no plain table'
           WHEN relpersistence <> 'p' THEN 'it is UNLOGGED, and would be empty after a crash'
           WHEN relhasrules THEN 'it has rules'
           WHEN relrowsecurity OR relforcerowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = model) THEN 'it has row security'
           WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = model AND NOT tgisinternal) THEN 'it has triggers'
           WHEN EXISTS (SELECT FROM pg_constraint WHERE confrelid = model AND conrelid <> model) THEN 'other tables refer to it'
           ELSE (SELECT 'it uses the ' || min(use) FROM (SELECT uses_of_strangers(model) EXCEPT SELECT uses_of_strangers(in_place_of)) AS foreign_use (use))
         END
    INTO problem
    FROM pg_class WHERE oid = model;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION 'the table % cannot be a read model: %', name, problem
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Its schema.sql makes tables and indexes of what Postgres or the ledger''s owner has. Triggers and policies are given by the owner, afterwards.';
  END IF;
  -- Who was let make references or triggers by its maker is not by its owner.
  FOR found IN
    SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
      FROM (SELECT relacl AS acl FROM pg_class WHERE oid = model UNION ALL SELECT attacl FROM pg_attribute WHERE attrelid = model) AS granted,
           aclexplode(acl)
     WHERE grantee <> owner::regrole
  LOOP
    EXECUTE format('REVOKE TRIGGER, REFERENCES ON %s FROM %s CASCADE', model, found.grantee);
    EXECUTE format('REVOKE GRANT OPTION FOR ALL ON %s FROM %s CASCADE', model, found.grantee);
  END LOOP;
END
$$;

-- The table of this name in a schema beside the ledger's, taken over; null where there is none. One that is the owner's already, as those are that a rebuild
-- has put aside, comes as it is.
CREATE FUNCTION fresh_read_model(from_schema text, name text, in_place_of regclass) RETURNS regclass
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text     := current_schema();
  fresh CONSTANT regclass := CASE WHEN from_schema <> home THEN to_regclass(format('%I.%I', from_schema, name)) END;
  maker CONSTANT text     := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = fresh);
BEGIN
  IF maker = home || '_projector' THEN
    PERFORM take_over(fresh, in_place_of);
  ELSIF maker <> home || '_owner' THEN
    RAISE EXCEPTION '%.% is no table of %', from_schema, name, home || '_projector'
      USING ERRCODE = 'insufficient_privilege', HINT = format('As its owner: ALTER TABLE %I.%I OWNER TO %I', from_schema, name, home || '_projector');
  END IF;
  RETURN fresh;
END
$$;

-- Moves a table in, and lets projectors write its rows and readers read them. Its name has to be free, or Postgres refuses: what belongs to the ledger is
-- not replaced so.
CREATE FUNCTION move_in(fresh regclass, name text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s SET SCHEMA %I', fresh, current_schema());
  INSERT INTO read_models VALUES (name) ON CONFLICT DO NOTHING;
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I.%I TO %I', current_schema(), name, current_schema() || '_projector');
  EXECUTE format('GRANT SELECT ON %I.%I TO %I', current_schema(), name, current_schema() || '_reader');
END
$$;

-- Makes a read model of a table that lies in a schema beside the ledger's.
CREATE OR REPLACE FUNCTION adopt_table(from_schema text, name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  fresh CONSTANT regclass := fresh_read_model(from_schema, name, null);
BEGIN
  IF fresh IS NULL THEN
    RAISE EXCEPTION 'there is no table %.%', from_schema, name USING ERRCODE = 'undefined_table';
  END IF;
  PERFORM move_in(fresh, name);
END
$$;

DROP FUNCTION swap_tables(text, text[], text);
DROP FUNCTION swap_table(text, text, text);

-- Gives to a table what somebody has given to the one that it replaces: grants, also of columns; row security and its policies. Triggers come as
-- statements, for their texts name the table where it is yet to be.
CREATE FUNCTION pass_on(old regclass, fresh regclass, OUT triggers text[])
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  found record;
BEGIN
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

  SELECT array_agg(statement ORDER BY t.tgname, place)
    INTO triggers
    FROM pg_trigger AS t,
         LATERAL (VALUES
           (1, pg_get_triggerdef(t.oid)),
           (2, format('ALTER TABLE %s %s TRIGGER %I', old,
                      CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END, t.tgname))
         ) AS made (place, statement)
   WHERE tgrelid = old AND NOT tgisinternal
     AND NOT EXISTS (SELECT FROM pg_trigger AS own WHERE own.tgrelid = fresh AND own.tgname = t.tgname);
END
$$;

-- Puts the tables of these names that lie in fresh_schema in the place of the ledger's, and these into aside_schema; where there is no fresh one, the old one
-- only goes. With the owner's rights, and nothing that is not a read model is touched.
CREATE FUNCTION exchange_tables(fresh_schema text, names text[], aside_schema text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  home CONSTANT text := current_schema();
  model     text;
  old       regclass;
  fresh     regclass;
  triggers  text[];
  statement text;
BEGIN
  FOREACH model IN ARRAY names LOOP
    old := to_regclass(format('%I.%I', home, model));
    IF old IS NOT NULL AND NOT EXISTS (SELECT FROM read_models WHERE read_models.name = model) THEN
      RAISE EXCEPTION '%.% is not replaced: it is no read model', home, model USING ERRCODE = 'insufficient_privilege';
    END IF;
    fresh := fresh_read_model(fresh_schema, model, old);
    triggers := CASE WHEN old IS NOT NULL AND fresh IS NOT NULL THEN pass_on(old, fresh) END;
    IF old IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %s SET SCHEMA %I', old, aside_schema);
      DELETE FROM read_models WHERE read_models.name = model;
    END IF;
    IF fresh IS NOT NULL THEN
      PERFORM move_in(fresh, model);
    END IF;
    FOREACH statement IN ARRAY coalesce(triggers, '{}') LOOP
      EXECUTE statement;
    END LOOP;
  END LOOP;
END
$$;

-- Swaps all tables of a projection, or none, in the caller's transaction. The views that read them are made anew, as what they were and with the caller's
-- rights: they may be anybody's.
CREATE FUNCTION swap_tables(fresh_schema text, names text[], aside_schema text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home     CONSTANT text := current_schema();
  obstacle CONSTANT text := (SELECT o FROM swap_obstacles(names) AS o LIMIT 1);
  found      record;
  views      text[] := '{}';
  definition text;
BEGIN
  IF obstacle IS NOT NULL THEN
    RAISE EXCEPTION 'the tables cannot be replaced: %', obstacle
      USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop it, and make it again afterwards.';
  END IF;
  FOR found IN
    SELECT DISTINCT replaced.name, view.oid::regclass AS view, ' WITH (' || array_to_string(view.reloptions, ', ') || ')' AS options,
           to_regclass(format('%I.%I', fresh_schema, replaced.name)) IS NULL AS only_goes
      FROM unnest(names) AS replaced (name)
      JOIN pg_depend ON pg_depend.refclassid = 'pg_class'::regclass AND pg_depend.refobjid = to_regclass(format('%I.%I', home, replaced.name))
      JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = 'pg_rewrite'::regclass
      JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class AND view.relkind = 'v'
  LOOP
    IF found.only_goes THEN
      RAISE EXCEPTION 'the table % cannot go: the view % reads it', found.name, found.view
        USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop the view.';
    END IF;
    views := views || format('CREATE OR REPLACE VIEW %s%s AS %s', found.view, found.options, pg_get_viewdef(found.view));
  END LOOP;
  PERFORM exchange_tables(fresh_schema, names, aside_schema);
  FOREACH definition IN ARRAY views LOOP
    EXECUTE definition;
  END LOOP;
END
$$;

-- What should be there: what is remembered, of the things that still exist; and what goes with the read models that came since.
CREATE OR REPLACE FUNCTION rights_wanted() RETURNS SETOF rights
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT r.object, r.what, r.role FROM rights AS r
   WHERE CASE split_part(r.object, ' ', 1)
           WHEN 'VERSION'  THEN false
           WHEN 'TABLE'    THEN to_regclass(substr(r.object, 7)) IS NOT NULL
           WHEN 'FUNCTION' THEN to_regprocedure(substr(r.object, 10)) IS NOT NULL
           WHEN 'DOMAIN'   THEN to_regtype(substr(r.object, 8)) IS NOT NULL
           WHEN 'TYPE'     THEN to_regtype(substr(r.object, 6)) IS NOT NULL
           ELSE true
         END
  UNION
  SELECT 'TABLE ' || quote_ident(model.name), wanted.what, current_schema()::text || wanted.role
    FROM read_models AS model,
         (VALUES ('OWNER', '_owner'), ('SELECT', '_reader'), ('SELECT', '_projector'), ('INSERT', '_projector'), ('UPDATE', '_projector'),
                 ('DELETE', '_projector'), ('TRUNCATE', '_projector')) AS wanted (what, role)
   WHERE EXISTS (SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = model.name AND relkind = 'r')
$$;

-- Those that are there already.
DO $$
DECLARE
  home  CONSTANT text := current_schema();
  names CONSTANT text[] := ARRAY(
    SELECT relname FROM pg_class
     WHERE relnamespace = home::regnamespace AND relkind = 'r' AND relowner = (home || '_projector')::regrole);
  name text;
BEGIN
  FOREACH name IN ARRAY names LOOP
    PERFORM take_over(format('%I.%I', home, name)::regclass, null);
    INSERT INTO read_models VALUES (name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I.%I TO %I', home, name, home || '_projector');
  END LOOP;
END
$$;

REVOKE ALL ON read_models FROM PUBLIC;
REVOKE ALL ON FUNCTION uses_of_strangers(regclass), take_over(regclass, regclass), fresh_read_model(text, text, regclass), move_in(regclass, text),
  pass_on(regclass, regclass), exchange_tables(text, text[], text), swap_tables(text, text[], text) FROM PUBLIC;
DO $$
DECLARE
  home CONSTANT text := current_schema();
BEGIN
  EXECUTE format('GRANT SELECT ON read_models TO %I, %I', home || '_reader', home || '_projector');
  EXECUTE format('GRANT EXECUTE ON FUNCTION exchange_tables(text, text[], text), swap_tables(text, text[], text) TO %I', home || '_projector');
  -- Who may change a whole table may also lock it, and row policies do not reach that far: each part could have stood in the others' way.
  EXECUTE format('REVOKE UPDATE ON leases, checkpoints FROM %I, %I, %I', home || '_relay', home || '_projector', home || '_sealer');
  EXECUTE format('GRANT UPDATE (holder, fence, expires_at) ON leases TO %I, %I, %I', home || '_relay', home || '_projector', home || '_sealer');
  EXECUTE format('GRANT UPDATE (position, updated_at) ON checkpoints TO %I', home || '_relay');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  home CONSTANT text := current_schema();
  name text;
BEGIN
  EXECUTE format('GRANT UPDATE ON leases TO %I, %I, %I', home || '_relay', home || '_projector', home || '_sealer');
  EXECUTE format('GRANT UPDATE ON checkpoints TO %I', home || '_relay');
  FOR name IN SELECT read_models.name FROM read_models LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', home, name, home || '_projector');
  END LOOP;
END
$$;
DROP FUNCTION swap_tables(text, text[], text);
DROP FUNCTION exchange_tables(text, text[], text);
DROP FUNCTION pass_on(regclass, regclass);

CREATE OR REPLACE FUNCTION adopt_table(from_schema text, name text) RETURNS void
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
DROP FUNCTION move_in(regclass, text);
DROP FUNCTION fresh_read_model(text, text, regclass);
DROP FUNCTION take_over(regclass, regclass);
DROP FUNCTION uses_of_strangers(regclass);

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

CREATE OR REPLACE FUNCTION swap_tables(fresh_schema text, names text[], aside_schema text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  obstacle CONSTANT text := (SELECT o FROM swap_obstacles(names) AS o LIMIT 1);
  name text;
BEGIN
  IF obstacle IS NOT NULL THEN
    RAISE EXCEPTION 'the tables cannot be replaced: %', obstacle
      USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop it, and make it again afterwards.';
  END IF;
  FOREACH name IN ARRAY names LOOP
    PERFORM swap_table(fresh_schema, name, aside_schema);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION rights_wanted() RETURNS SETOF rights
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT r.object, r.what, r.role FROM rights AS r
   WHERE CASE split_part(r.object, ' ', 1)
           WHEN 'VERSION'  THEN false
           WHEN 'TABLE'    THEN to_regclass(substr(r.object, 7)) IS NOT NULL
           WHEN 'FUNCTION' THEN to_regprocedure(substr(r.object, 10)) IS NOT NULL
           WHEN 'DOMAIN'   THEN to_regtype(substr(r.object, 8)) IS NOT NULL
           WHEN 'TYPE'     THEN to_regtype(substr(r.object, 6)) IS NOT NULL
           ELSE true
         END
  UNION
  SELECT model.object, wanted.what, current_schema()::text || wanted.role
    FROM (SELECT 'TABLE ' || quote_ident(t.name) AS object FROM projections, pg_catalog.unnest(tables) AS t (name) WHERE to_regclass(quote_ident(t.name)) IS NOT NULL)
           AS model,
         (VALUES ('OWNER', '_projector'), ('SELECT', '_reader')) AS wanted (what, role)
   WHERE NOT EXISTS (SELECT FROM rights AS r WHERE r.object = model.object AND r.what = 'OWNER' AND r.role <> current_schema()::text || '_projector')
$$;

DROP TABLE read_models;
REVOKE ALL ON FUNCTION swap_table(text, text, text), swap_tables(text, text[], text) FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION swap_table(text, text, text), swap_tables(text, text[], text) TO %I', current_schema() || '_projector');
END
$$;

SELECT hand_over();
