-- What a dump leaves behind. Roles belong to the server, so a ledger that was restored on another one has lost them, and with them what was
-- granted to them, the policies for them, and its owner. The ledger remembers what that was, and gives it back: `jobledger migrate` has it do so.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Texts of another encoding would be refused one by one, each when it comes.
DO $$
BEGIN
  IF getdatabaseencoding() <> 'UTF8' THEN
    RAISE EXCEPTION 'the database % has the encoding %, and a ledger needs UTF8', current_database(), getdatabaseencoding()
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It cannot be changed. Make another: CREATE DATABASE name ENCODING ''UTF8'' LOCALE ''C.UTF-8'' TEMPLATE template0';
  END IF;
END
$$;

-- Each row is a right as GRANT has it: `what` ON `object` TO `role`. `OWNER` is who owns it, `MEMBER` who has the rights of another role, and a
-- policy stands whole in `what`, with no role.
CREATE TABLE rights (
  object text NOT NULL,
  what   text NOT NULL,
  role   text NOT NULL,

  CONSTRAINT rights_pkey PRIMARY KEY (object, what, role)
);

-- A superuser runs these, and a projector may make functions in this schema: so each call finds its arguments' own types in pg_catalog, or names it.

-- The rights of this ledger's roles, and what belongs to them, as the catalogs have it.
CREATE FUNCTION rights_in_force() RETURNS SETOF rights
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  WITH home AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = current_schema()),
  own AS (SELECT r.oid, r.rolname::text AS name FROM pg_roles AS r, home WHERE starts_with(r.rolname::text, home.nspname::text || '_')),
  thing AS (
    SELECT 'SCHEMA ' || quote_ident(nspname::text) AS object, nspowner AS owner, nspacl AS acl, null::name AS attribute FROM home
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, c.relacl, null FROM pg_class AS c, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, a.attacl, a.attname
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v') AND a.attacl IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION ' || p.oid::regprocedure::text, p.proowner, p.proacl, null FROM pg_proc AS p, home WHERE p.pronamespace = home.oid
    UNION ALL
    -- Domains and composite types; the row types of tables go with their tables.
    SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || t.oid::regtype::text, t.typowner, null, null
      FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid, home
     WHERE t.typnamespace = home.oid AND (t.typtype = 'd' OR c.relkind = 'c')
  )
  SELECT DISTINCT thing.object, 'OWNER', own.name FROM thing JOIN own ON own.oid = thing.owner
  UNION ALL
  SELECT DISTINCT thing.object, a.privilege_type || coalesce(' (' || quote_ident(thing.attribute::text) || ')', ''), own.name
    FROM thing, aclexplode(thing.acl) AS a JOIN own ON own.oid = a.grantee WHERE a.grantee <> thing.owner
  UNION ALL
  SELECT DISTINCT 'ROLE ' || quote_ident(granted.name), 'MEMBER', own.name
    FROM pg_auth_members AS m JOIN own ON own.oid = m.member JOIN own AS granted ON granted.oid = m.roleid
  UNION ALL
  SELECT 'TABLE ' || quote_ident(p.tablename::text),
         pg_catalog.concat('POLICY ', quote_ident(p.policyname::text), ' ON ', quote_ident(p.tablename::text), ' AS ', p.permissive, ' FOR ', p.cmd, ' TO ',
                (SELECT string_agg(CASE r WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(r::text) END, ', ') FROM pg_catalog.unnest(p.roles) AS r),
                ' USING (' || p.qual || ')', ' WITH CHECK (' || p.with_check || ')'), ''
    FROM pg_policies AS p, home WHERE p.schemaname = home.nspname
$$;

-- Keeps in mind what the rights are after the migration of this version. A runner of migrations calls it behind each, in the same transaction.
CREATE FUNCTION remember_rights(of_version text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
  DELETE FROM rights;
  INSERT INTO rights SELECT * FROM rights_in_force();
  INSERT INTO rights (object, what, role) VALUES ('VERSION', of_version, '');
$$;

-- What should be there: what is remembered, of the things that still exist; and the projector owns the read models that came since, and readers
-- read them. Those are tables that nobody but a projector made: what is remembered as the owner's stays the owner's, whoever calls it a read model.
CREATE FUNCTION rights_wanted() RETURNS SETOF rights
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

-- What is missing, in words; no row where nothing is. Nothing was remembered of a ledger that dbmate alone has made.
CREATE FUNCTION missing_rights() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  WITH missing AS (
    SELECT * FROM rights_wanted() EXCEPT SELECT * FROM rights_in_force()
  ),
  role AS (
    SELECT DISTINCT m.role FROM missing AS m WHERE m.role <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = m.role)
  )
  SELECT pg_catalog.format('the role %s, and all that it may do', role) FROM role
  UNION ALL
  SELECT CASE
           WHEN what = 'OWNER'  THEN pg_catalog.format('%s does not belong to %s', lower(split_part(object, ' ', 1)) || substr(object, strpos(object, ' ')), role)
           WHEN what = 'MEMBER' THEN pg_catalog.format('%s is no member of %s', role, substr(object, 6))
           WHEN role = ''       THEN 'the policy ' || substr(what, 8)
           ELSE pg_catalog.format('%s may not %s %s', role, what, lower(split_part(object, ' ', 1)) || substr(object, strpos(object, ' ')))
         END
    FROM missing WHERE role NOT IN (SELECT role.role FROM role)
   ORDER BY 1
$$;

-- Gives back what is missing, and says what that was. It takes a user who may make roles, and who owns what was restored, or is a superuser.
CREATE FUNCTION mend_rights() RETURNS SETOF text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text := current_schema();
  found record;
BEGIN
  RETURN QUERY SELECT missing_rights();
  FOR found IN SELECT DISTINCT r.role FROM rights AS r WHERE r.role <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.role) LOOP
    BEGIN
      EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', found.role);
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another ledger of this name, in another database, was mended at this moment
      WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role % is missing, and % may not create roles', found.role, current_user
          USING HINT = pg_catalog.format('Have an administrator run: CREATE ROLE %I NOLOGIN', found.role);
    END;
  END LOOP;
  -- Who mends has to act for them.
  FOR found IN SELECT home || '_owner' AS role UNION ALL SELECT home || '_projector' LOOP
    IF NOT pg_catalog.pg_has_role(found.role, 'MEMBER') THEN
      EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER', found.role);
    END IF;
  END LOOP;
  -- Owners last but for policies: what belongs to another already can only be granted by it.
  FOR found IN
    SELECT w.object, w.what, w.role FROM (SELECT * FROM rights_wanted() EXCEPT SELECT * FROM rights_in_force()) AS w
     ORDER BY w.role = '', w.what = 'OWNER', w.object
  LOOP
    EXECUTE CASE
      WHEN found.what = 'OWNER'  THEN pg_catalog.format('ALTER %s OWNER TO %I', found.object, found.role)
      WHEN found.what = 'MEMBER' THEN pg_catalog.format('GRANT %s TO %I', substr(found.object, 6), found.role)
      WHEN found.role = ''       THEN 'CREATE ' || found.what
      ELSE pg_catalog.format('GRANT %s ON %s TO %I', found.what, found.object, found.role)
    END;
  END LOOP;
END
$$;

REVOKE ALL ON rights FROM PUBLIC;
REVOKE ALL ON FUNCTION rights_in_force(), remember_rights(text), rights_wanted(), missing_rights(), mend_rights() FROM PUBLIC;
DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY '{appender,reader,subscriber,relay,projector,sealer}'::text[] LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION missing_rights() TO %I', current_schema() || '_' || role);
  END LOOP;
  EXECUTE pg_catalog.format('GRANT SELECT ON rights TO %I', current_schema() || '_auditor');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION mend_rights();
DROP FUNCTION missing_rights();
DROP FUNCTION rights_wanted();
DROP FUNCTION remember_rights(text);
DROP FUNCTION rights_in_force();
DROP TABLE rights;
