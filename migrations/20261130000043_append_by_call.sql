-- An append for SQL callers that lets the others append while it waits for the standbys.
-- append_event() cannot do that: it is part of the caller's transaction, whose commit waits, and
-- holds the log until then. A procedure can commit, and wait afterwards.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Three functions that take procedures for what they are, and are otherwise as before.

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
    SELECT oid::regprocedure AS signature FROM pg_proc WHERE pronamespace = home::regnamespace
        AND proowner = current_user::regrole
  LOOP
    EXECUTE format('ALTER ROUTINE %s OWNER TO %I', found.signature, owner);
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

CREATE OR REPLACE FUNCTION rights_in_force() RETURNS SETOF rights
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
    SELECT CASE WHEN p.prokind = 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || p.oid::regprocedure::text, p.proowner,
           p.proacl, null
      FROM pg_proc AS p, home
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

CREATE OR REPLACE FUNCTION rights_wanted() RETURNS SETOF rights
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT r.object, r.what, r.role FROM rights AS r
   WHERE CASE split_part(r.object, ' ', 1)
           WHEN 'VERSION'   THEN false
           WHEN 'TABLE'     THEN to_regclass(substr(r.object, 7)) IS NOT NULL
           WHEN 'FUNCTION'  THEN to_regprocedure(substr(r.object, 10)) IS NOT NULL
           WHEN 'PROCEDURE' THEN to_regprocedure(substr(r.object, 11)) IS NOT NULL
           WHEN 'DOMAIN'    THEN to_regtype(substr(r.object, 8)) IS NOT NULL
           WHEN 'TYPE'      THEN to_regtype(substr(r.object, 6)) IS NOT NULL
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

-- A procedure that commits can set neither a search path nor the owner's rights. So its text names
-- the schema, and an appender has the right to all that it calls.
DO $do$
BEGIN
  EXECUTE format($definition$
-- Appends one event as append_event() does, commits it, and returns once it has the level that the
-- ledger demands. It is a transaction of its own: within another one it fails (2D000).
--
-- In a ledger that demands quorum it commits on this server's disk, which gives the next appender
-- the log. Then it waits for the standbys in a second transaction, whose WAL is behind the event's.
-- One session does both, so the standbys are those of the server that has written. In other ledgers
-- it commits as the session's settings say, and does not give the log away before: readers there do
-- not ask for standbys, and would pass on what a failover may take back.
--
-- A refusal is one of append_event(), and nothing is written. After any other error, and after the
-- warning that the wait for standbys was cancelled, the event may be written, and a failover may
-- lose it. The same call with the same event_id settles that: it waits again.
--
-- A session reads changed settings between statements only. So the procedure cannot see that
-- somebody has emptied synchronous_standby_names, which ends its wait. require_standbys(), as the
-- next statement, can.
CREATE PROCEDURE append_and_confirm(
  job_id           text,
  type             text,
  data             json        DEFAULT '{}',
  metadata         json        DEFAULT '{}',
  expected_version integer     DEFAULT null,
  INOUT event_id   uuid        DEFAULT null,
  occurred_at      timestamptz DEFAULT null,
  INOUT "position" bigint      DEFAULT null,
  INOUT version    integer     DEFAULT null,
  INOUT duplicate  boolean     DEFAULT null
)
LANGUAGE plpgsql AS $$
BEGIN
  IF %1$I.demanded_durability() = 'quorum' THEN
    PERFORM %1$I.confirm_afterwards();
  END IF;
  SELECT appended.position, appended.version, appended.event_id, appended.duplicate
    INTO "position", version, event_id, duplicate
    FROM %1$I.append_event(job_id, type, data, metadata, expected_version, event_id, occurred_at) AS appended;
  COMMIT;
  PERFORM %1$I.durable_position();
  COMMIT;
END
$$;
$definition$, current_schema());
END
$do$;

DO $$
DECLARE
  home CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  REVOKE ALL ON PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint, integer,
    boolean) FROM PUBLIC;
  FOREACH statement IN ARRAY ARRAY[
    'GRANT EXECUTE ON PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint,
       integer, boolean) TO :appender',
    'GRANT EXECUTE ON FUNCTION require_standbys() TO :appender, :reader, :subscriber, :relay, :projector, :sealer']
  LOOP
    EXECUTE regexp_replace(statement, ':(\w+)', '"' || home || '_\1"', 'g');
  END LOOP;
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY '{appender,reader,subscriber,relay,projector,sealer}'::text[] LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION require_standbys() FROM %I', current_schema() || '_' || role);
  END LOOP;
END
$$;
DROP PROCEDURE append_and_confirm(text, text, json, json, integer, uuid, timestamptz, bigint, integer, boolean);

-- The functions as they were before.

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
         (VALUES ('OWNER', '_owner'), ('SELECT', '_reader'), ('SELECT', '_projector'), ('INSERT', '_projector'),
           ('UPDATE', '_projector'), ('DELETE', '_projector'), ('TRUNCATE', '_projector')) AS wanted (what, role)
   WHERE EXISTS (SELECT FROM pg_class
                  WHERE relnamespace = current_schema()::regnamespace AND relname = model.name AND relkind = 'r')
$$;

CREATE OR REPLACE FUNCTION rights_in_force() RETURNS SETOF rights
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
