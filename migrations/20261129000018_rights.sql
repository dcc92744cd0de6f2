-- What a dump leaves behind. Roles belong to the server, so a ledger that was restored on another
-- server has lost them, with all grants to them, the policies for them, and its owner. The ledger
-- remembers what that was, and `jobledger migrate` has it restore them.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Each row is a right as GRANT has it: `what` ON `object` TO `role`. OWNER is who owns the object,
-- MEMBER who has the rights of another role. A policy stands in `what` as a whole, without a role.
CREATE TABLE rights (
  object text NOT NULL,
  what   text NOT NULL,
  role   text NOT NULL,

  CONSTRAINT rights_pkey PRIMARY KEY (object, what, role)
);

-- The rights of this ledger's roles, and what they own, as the catalogs have it.
CREATE FUNCTION rights_in_force() RETURNS SETOF rights
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  WITH home AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = current_schema()),
  own AS (SELECT r.oid, r.rolname::text AS name
            FROM pg_roles AS r, home
           -- By whole names: roles of other ledgers, and users, may begin like this ledger's name.
           WHERE r.rolname::text IN (SELECT home.nspname::text || '_' || part FROM pg_catalog.unnest(
                   '{owner,appender,reader,subscriber,relay,projector,sealer,auditor}'::text[]) AS part)),
  thing AS (
    SELECT 'SCHEMA ' || quote_ident(nspname::text) AS object, nspowner AS owner, nspacl AS acl, null::name AS attribute
      FROM home
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, c.relacl, null FROM pg_class AS c, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, a.attacl, a.attname
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v') AND a.attacl IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION ' || p.oid::regprocedure::text, p.proowner, p.proacl, null FROM pg_proc AS p, home
     WHERE p.pronamespace = home.oid
    UNION ALL
    -- Domains and composite types; the row types of tables go with their tables.
    SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || t.oid::regtype::text, t.typowner, null, null
      FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid, home
     WHERE t.typnamespace = home.oid AND (t.typtype = 'd' OR c.relkind = 'c')
  )
  SELECT DISTINCT thing.object, 'OWNER', own.name FROM thing JOIN own ON own.oid = thing.owner
  UNION ALL
  SELECT DISTINCT thing.object, a.privilege_type || coalesce(' (' || quote_ident(thing.attribute::text) || ')', ''),
         own.name
    FROM thing, aclexplode(thing.acl) AS a JOIN own ON own.oid = a.grantee WHERE a.grantee <> thing.owner
  UNION ALL
  SELECT DISTINCT 'ROLE ' || quote_ident(granted.name), 'MEMBER', own.name
    FROM pg_auth_members AS m JOIN own ON own.oid = m.member JOIN own AS granted ON granted.oid = m.roleid
  UNION ALL
  SELECT 'TABLE ' || quote_ident(p.tablename::text),
         pg_catalog.concat(
           'POLICY ', quote_ident(p.policyname::text), ' ON ', quote_ident(p.tablename::text), ' AS ', p.permissive,
           ' FOR ', p.cmd, ' TO ',
           (SELECT string_agg(CASE r WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(r::text) END, ', ')
              FROM pg_catalog.unnest(p.roles) AS r),
           ' USING (' || p.qual || ')', ' WITH CHECK (' || p.with_check || ')'), ''
    FROM pg_policies AS p, home WHERE p.schemaname = home.nspname
$$;

-- Remembers the rights as they are after the migration of this version. A runner of migrations
-- calls it after each, in the same transaction.
CREATE FUNCTION remember_rights(of_version text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
  DELETE FROM rights;
  INSERT INTO rights SELECT * FROM rights_in_force();
  INSERT INTO rights (object, what, role) VALUES ('VERSION', of_version, '');
$$;

-- What should be there: what is remembered of objects that still exist, and the rights to read
-- models, which came later.
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
  SELECT 'TABLE ' || quote_ident(model.name), wanted.what, current_schema()::text || wanted.role
    FROM read_models AS model,
         (VALUES ('OWNER', '_owner'), ('SELECT', '_reader'), ('SELECT', '_projector'), ('INSERT', '_projector'),
           ('UPDATE', '_projector'), ('DELETE', '_projector'), ('TRUNCATE', '_projector')) AS wanted (what, role)
   WHERE EXISTS (SELECT FROM pg_class
                  WHERE relnamespace = current_schema()::regnamespace AND relname = model.name AND relkind = 'r')
$$;

-- What is missing, in words; no row where nothing is. A ledger that dbmate alone has made remembers
-- nothing.
CREATE FUNCTION missing_rights() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  WITH missing AS (
    SELECT * FROM rights_wanted() EXCEPT SELECT * FROM rights_in_force()
  ),
  role AS (
    SELECT DISTINCT m.role FROM missing AS m
     WHERE m.role <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = m.role)
  )
  SELECT pg_catalog.format('the role %s, and all that it may do', role) FROM role
  UNION ALL
  SELECT CASE
           WHEN what = 'OWNER'
             THEN pg_catalog.format('%s does not belong to %s',
                                    lower(split_part(object, ' ', 1)) || substr(object, strpos(object, ' ')), role)
           WHEN what = 'MEMBER' THEN pg_catalog.format('%s is not a member of %s', role, substr(object, 6))
           WHEN role = ''       THEN 'the policy ' || substr(what, 8)
           ELSE pg_catalog.format('%s may not %s %s', role, what,
                                  lower(split_part(object, ' ', 1)) || substr(object, strpos(object, ' ')))
         END
    FROM missing WHERE role NOT IN (SELECT role.role FROM role)
   ORDER BY 1
$$;

-- Restores what is missing, and returns what that was. For a user who may make roles and owns what
-- was restored, or a superuser.
CREATE FUNCTION mend_rights() RETURNS SETOF text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text := current_schema();
  found record;
BEGIN
  RETURN QUERY SELECT missing_rights();
  FOR found IN
    SELECT DISTINCT r.role FROM rights AS r
     WHERE r.role <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.role)
  LOOP
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
  -- Restoring needs the rights of these two roles.
  FOR found IN SELECT home || '_owner' AS role UNION ALL SELECT home || '_projector' LOOP
    IF NOT pg_catalog.pg_has_role(found.role, 'MEMBER') THEN
      EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER', found.role);
    END IF;
  END LOOP;
  -- Grants before owners, because only an object's owner can grant it; policies last.
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

DO $$
DECLARE
  role text;
BEGIN
  REVOKE ALL ON rights FROM PUBLIC;
  REVOKE ALL ON FUNCTION rights_in_force(), remember_rights(text), rights_wanted(), missing_rights(), mend_rights()
    FROM PUBLIC;
  FOREACH role IN ARRAY '{appender,reader,subscriber,relay,projector,sealer}'::text[] LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION missing_rights() TO %I', current_schema() || '_' || role);
  END LOOP;
  EXECUTE format('GRANT SELECT ON rights TO %I', current_schema() || '_auditor');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION mend_rights(), missing_rights(), rights_wanted(), remember_rights(text), rights_in_force();
DROP TABLE rights;
