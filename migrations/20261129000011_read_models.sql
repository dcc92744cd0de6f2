-- Read models: the tables of projections. They belong to the ledger's owner, and projectors write
-- their rows.
--
-- Whoever owns a table can have others run code: triggers and constraints run with the rights of
-- who writes to it, policies and rules with those of who reads it. So a projector makes a table in
-- a schema beside the ledger's, and the functions here take it over after they have looked at what
-- would come with it.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The tables that were taken over. projections.tables is what projectors say; this is what is so.
CREATE TABLE read_models (
  name text COLLATE "C" NOT NULL,

  CONSTRAINT read_models_pkey PRIMARY KEY (name)
);

-- What a table, its indexes, its constraints and its defaults use that a stranger owns, in words. A
-- stranger is neither a superuser nor a member of the ledger's owner.
CREATE FUNCTION foreign_dependencies(model regclass) RETURNS SETOF text
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

-- Gives a table of LEDGER_projector to the owner, for good: nobody else can give it triggers,
-- policies or rules from here on. It has to be a plain table that runs no stranger's code, except
-- for what somebody gave to the table that it replaces, such as an index.
CREATE FUNCTION take_ownership(model regclass, in_place_of regclass) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  owner   CONSTANT text := current_schema() || '_owner';
  name    CONSTANT text := model::text;
  found   record;
  problem text;
BEGIN
  -- ALTER TABLE locks the table, so nothing is added to it after the checks.
  EXECUTE format('ALTER TABLE %s OWNER TO %I', model, owner);
  SELECT CASE
           WHEN relkind <> 'r' OR relispartition
             OR EXISTS (SELECT FROM pg_inherits WHERE model IN (inhrelid, inhparent))
             THEN 'it is not a plain table'
           WHEN relpersistence <> 'p' THEN 'it is UNLOGGED, and would be empty after a crash'
           WHEN relhasrules THEN 'it has rules'
           WHEN relrowsecurity OR relforcerowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = model)
             THEN 'it has row security'
           WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = model AND NOT tgisinternal) THEN 'it has triggers'
           WHEN EXISTS (SELECT FROM pg_constraint WHERE confrelid = model AND conrelid <> model)
             THEN 'other tables refer to it'
           ELSE (
             SELECT 'it uses the ' || min(use)
               FROM (SELECT foreign_dependencies(model) EXCEPT SELECT foreign_dependencies(in_place_of))
                      AS foreign_use (use))
         END
    INTO problem
    FROM pg_class WHERE oid = model;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION 'the table % cannot be a read model: %', name, problem
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Its schema.sql makes tables and indexes of what Postgres or the ledger''s owner has. Triggers '
                   'and policies are given by the owner, afterwards.';
  END IF;
  -- What its maker has granted for references and triggers, the owner does not grant.
  FOR found IN
    SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
      FROM (SELECT relacl AS acl FROM pg_class WHERE oid = model
            UNION ALL
            SELECT attacl FROM pg_attribute WHERE attrelid = model) AS granted,
           aclexplode(acl)
     WHERE grantee <> owner::regrole
  LOOP
    EXECUTE format('REVOKE TRIGGER, REFERENCES ON %s FROM %s CASCADE', model, found.grantee);
    EXECUTE format('REVOKE GRANT OPTION FOR ALL ON %s FROM %s CASCADE', model, found.grantee);
  END LOOP;
END
$$;

-- The table of this name in a schema beside the ledger's, taken over; null where there is none. One
-- that is the owner's already comes as it is: a rebuild has put it aside.
CREATE FUNCTION claim_fresh_table(from_schema text, name text, in_place_of regclass) RETURNS regclass
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text     := current_schema();
  fresh CONSTANT regclass := CASE WHEN from_schema <> home THEN to_regclass(format('%I.%I', from_schema, name)) END;
  maker CONSTANT text     := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = fresh);
BEGIN
  IF maker = home || '_projector' THEN
    PERFORM take_ownership(fresh, in_place_of);
  ELSIF maker <> home || '_owner' THEN
    RAISE EXCEPTION '%.% is not a table of %', from_schema, name, home || '_projector'
      USING ERRCODE = 'insufficient_privilege',
        HINT = format('As its owner: ALTER TABLE %I.%I OWNER TO %I', from_schema, name, home || '_projector');
  END IF;
  RETURN fresh;
END
$$;

-- Moves a table into the ledger's schema, and lets projectors write its rows and readers read them.
-- Its name must be free, or Postgres refuses, so no table of the ledger is replaced.
CREATE FUNCTION install_read_model(fresh regclass, name text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s SET SCHEMA %I', fresh, current_schema());
  INSERT INTO read_models VALUES (name) ON CONFLICT DO NOTHING;
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I.%I TO %I',
                 current_schema(), name, current_schema() || '_projector');
  EXECUTE format('GRANT SELECT ON %I.%I TO %I', current_schema(), name, current_schema() || '_reader');
END
$$;

-- Gives a table what somebody has given to the one that it replaces: grants, of columns too, row
-- security and its policies. Triggers are returned as statements, because their texts name the
-- table by the place where it will be.
CREATE FUNCTION copy_rights(old regclass, fresh regclass, OUT triggers text[])
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT privilege_type, is_grantable, columns,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
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
           CASE polcmd
             WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL'
           END AS command,
           (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
              FROM unnest(polroles) AS role) AS roles,
           ' USING (' || pg_get_expr(polqual, polrelid) || ')' AS condition,
           ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')' AS checked
      FROM pg_policy AS p
     WHERE polrelid = old
       AND NOT EXISTS (SELECT FROM pg_policy AS own WHERE own.polrelid = fresh AND own.polname = p.polname)
  LOOP
    EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s',
                   found.polname, fresh, found.kind, found.command, found.roles, found.condition, found.checked);
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
                      CASE t.tgenabled
                        WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
                        ELSE 'ENABLE'
                      END, t.tgname))
         ) AS made (place, statement)
   WHERE tgrelid = old AND NOT tgisinternal
     AND NOT EXISTS (SELECT FROM pg_trigger AS own WHERE own.tgrelid = fresh AND own.tgname = t.tgname);
END
$$;

-- Makes a read model of a table in a schema beside the ledger's.
CREATE FUNCTION adopt_table(from_schema text, name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  fresh CONSTANT regclass := claim_fresh_table(from_schema, name, null);
BEGIN
  IF fresh IS NULL THEN
    RAISE EXCEPTION 'there is no table %.%', from_schema, name USING ERRCODE = 'undefined_table';
  END IF;
  PERFORM install_read_model(fresh, name);
END
$$;

-- Puts the tables of these names in fresh_schema in the place of the ledger's, and the ledger's
-- into aside_schema. Where there is no fresh table, the old one only goes. Touches read models and
-- nothing else.
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
      RAISE EXCEPTION '%.% is not replaced: it is not a read model', home, model
        USING ERRCODE = 'insufficient_privilege';
    END IF;
    fresh := claim_fresh_table(fresh_schema, model, old);
    triggers := CASE WHEN old IS NOT NULL AND fresh IS NOT NULL THEN copy_rights(old, fresh) END;
    IF old IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %s SET SCHEMA %I', old, aside_schema);
      DELETE FROM read_models WHERE read_models.name = model;
    END IF;
    IF fresh IS NOT NULL THEN
      PERFORM install_read_model(fresh, model);
    END IF;
    FOREACH statement IN ARRAY coalesce(triggers, '{}') LOOP
      EXECUTE statement;
    END LOOP;
  END LOOP;
END
$$;

-- What would still refer to the tables of these names after they were replaced. While there is any,
-- they cannot be swapped. Views are made anew, and what belongs to a table goes with it.
CREATE FUNCTION swap_obstacles(names text[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  WITH used AS (
    SELECT pg_class.oid, pg_class.relname, pg_class.reltype
      FROM pg_class
     WHERE pg_class.relnamespace = current_schema()::regnamespace AND pg_class.relname = ANY (names)
  )
  SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on the table ' || used.relname
    FROM used
    JOIN pg_depend AS d
      ON d.refclassid = 'pg_class'::regclass AND d.refobjid = used.oid
      OR d.refclassid = 'pg_type'::regclass
        AND d.refobjid IN (used.reltype, (SELECT typarray FROM pg_type WHERE pg_type.oid = used.reltype))
   WHERE d.deptype = 'n'
     AND NOT EXISTS (SELECT FROM pg_rewrite JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class
                      WHERE d.classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = d.objid AND view.relkind = 'v')
     AND NOT EXISTS (SELECT FROM pg_constraint
                      WHERE d.classid = 'pg_constraint'::regclass AND pg_constraint.oid = d.objid
                        AND conrelid IN (SELECT used.oid FROM used))
     AND NOT EXISTS (SELECT FROM pg_trigger
                      WHERE d.classid = 'pg_trigger'::regclass AND pg_trigger.oid = d.objid
                        AND tgrelid IN (SELECT used.oid FROM used))
     AND NOT EXISTS (SELECT FROM pg_policy
                      WHERE d.classid = 'pg_policy'::regclass AND pg_policy.oid = d.objid
                        AND polrelid IN (SELECT used.oid FROM used))
   ORDER BY 1;
END;

-- The statements that make, for fresh_schema.name, the indexes that somebody added to the ledger's
-- table of that name.
CREATE FUNCTION added_indexes(fresh_schema text, name text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT replace(pg_get_indexdef(indexrelid), format(' ON %I.%I ', current_schema(), name),
      format(' ON %I.%I ', fresh_schema, name))
    FROM pg_index
    JOIN pg_class AS index ON index.oid = indexrelid
   WHERE indrelid = to_regclass(format('%I.%I', current_schema(), name))
     AND indisvalid
     AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
     AND to_regclass(format('%I.%I', fresh_schema, index.relname)) IS NULL
   ORDER BY index.relname;
END;

-- Swaps all tables of a projection, or none, in the caller's transaction. The views that read them
-- are made anew with the caller's rights, because they may be anybody's.
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
    SELECT DISTINCT replaced.name, view.oid::regclass AS view,
           ' WITH (' || array_to_string(view.reloptions, ', ') || ')' AS options,
          to_regclass(format('%I.%I', fresh_schema, replaced.name)) IS NULL AS only_goes
      FROM unnest(names) AS replaced (name)
      JOIN pg_depend ON pg_depend.refclassid = 'pg_class'::regclass
        AND pg_depend.refobjid = to_regclass(format('%I.%I', home, replaced.name))
      JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = 'pg_rewrite'::regclass
      JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class AND view.relkind = 'v'
  LOOP
    IF found.only_goes THEN
      RAISE EXCEPTION 'the table % cannot go: the view % reads it', found.name, found.view
        USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop the view.';
    END IF;
    views := views || format('CREATE OR REPLACE VIEW %s%s AS %s', found.view, found.options,
      pg_get_viewdef(found.view));
  END LOOP;
  PERFORM exchange_tables(fresh_schema, names, aside_schema);
  FOREACH definition IN ARRAY views LOOP
    EXECUTE definition;
  END LOOP;
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION swap_tables(text, text[], text), added_indexes(text, text), swap_obstacles(text[]),
  exchange_tables(text, text[], text), adopt_table(text, text), copy_rights(regclass, regclass),
    install_read_model(regclass, text), claim_fresh_table(text, text, regclass), take_ownership(regclass, regclass),
      foreign_dependencies(regclass);
DROP TABLE read_models;
