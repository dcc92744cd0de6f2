-- Rebuilds that survive their process: what is being made beside the tables in use, and what was there before.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- A rebuild under way. Its tables are in the schema LEDGER-ID. At first slices of the streams are folded side by side, each with a
-- position of its own; from the goal on the tables have one position.
CREATE TABLE rebuilds (
  projection      text        NOT NULL,
  id              bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  definition      text        NOT NULL,  -- the hash of the SQL that makes the tables
  slices          integer     NOT NULL,
  goal            bigint      NOT NULL,
  position        bigint,                -- null while slices are folded
  indexes         text[]      NOT NULL,  -- those that are still to be made
  -- Postgres may hash texts otherwise in another version: a stream would change its slice.
  server_version  integer     NOT NULL DEFAULT current_setting('server_version_num')::integer / 10000,
  failed_position bigint,                -- the event that it cannot fold
  failed_event    uuid,
  error           text,
  started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_by      text        NOT NULL,

  CONSTRAINT rebuilds_pkey               PRIMARY KEY (projection),
  CONSTRAINT rebuilds_id_key             UNIQUE (id),
  CONSTRAINT rebuilds_id_goal_key        UNIQUE (id, goal),
  CONSTRAINT rebuilds_slices_positive    CHECK (slices > 0),
  CONSTRAINT rebuilds_goal_not_negative  CHECK (goal >= 0),
  CONSTRAINT rebuilds_position_from_goal CHECK (position >= goal),
  CONSTRAINT rebuilds_failed_at_an_event CHECK ((failed_position IS NULL) = (error IS NULL))
);

-- How far each slice is. A window and this position commit together.
CREATE TABLE rebuild_slices (
  rebuild  bigint  NOT NULL,
  slice    integer NOT NULL,
  goal     bigint  NOT NULL,
  position bigint  NOT NULL DEFAULT 0,

  CONSTRAINT rebuild_slices_pkey               PRIMARY KEY (rebuild, slice),
  CONSTRAINT rebuild_slices_rebuild_fkey       FOREIGN KEY (rebuild, goal) REFERENCES rebuilds (id, goal) ON DELETE CASCADE,
  CONSTRAINT rebuild_slices_slice_not_negative CHECK (slice >= 0),
  CONSTRAINT rebuild_slices_position_to_goal   CHECK (position BETWEEN 0 AND goal)
);

-- The tables that the last rebuild of a projection replaced, as they were: in the schema LEDGER~ID.
CREATE TABLE replaced_tables (
  projection  text        NOT NULL,
  id          bigint      NOT NULL,  -- the rebuild's
  definition  text        NOT NULL,
  tables      text[]      NOT NULL,
  position    bigint      NOT NULL,
  replaced_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT replaced_tables_pkey                  PRIMARY KEY (projection),
  CONSTRAINT replaced_tables_id_key                UNIQUE (id),
  CONSTRAINT replaced_tables_position_not_negative CHECK (position >= 0)
);

-- Which tables a projection has: another definition may have others. Empty where an older program made them.
ALTER TABLE projections ADD COLUMN tables text[] NOT NULL DEFAULT '{}';

-- What would go on referring to the tables of these names after they were replaced: swaps are refused while there is any.
-- Views are bound anew, and what belongs to the tables goes with them.
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
      OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (used.reltype, (SELECT typarray FROM pg_type WHERE pg_type.oid = used.reltype))
   WHERE d.deptype = 'n'
     AND NOT EXISTS (SELECT FROM pg_rewrite JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class
                      WHERE d.classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = d.objid AND view.relkind = 'v')
     AND NOT EXISTS (SELECT FROM pg_constraint
                      WHERE d.classid = 'pg_constraint'::regclass AND pg_constraint.oid = d.objid AND conrelid IN (SELECT used.oid FROM used))
     AND NOT EXISTS (SELECT FROM pg_trigger
                      WHERE d.classid = 'pg_trigger'::regclass AND pg_trigger.oid = d.objid AND tgrelid IN (SELECT used.oid FROM used))
     AND NOT EXISTS (SELECT FROM pg_policy
                      WHERE d.classid = 'pg_policy'::regclass AND pg_policy.oid = d.objid AND polrelid IN (SELECT used.oid FROM used))
   ORDER BY 1;
END;

-- The statements that make, for fresh_schema.name, the indexes that somebody added to the ledger's table of that name.
CREATE FUNCTION added_indexes(fresh_schema text, name text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT replace(pg_get_indexdef(indexrelid), format(' ON %I.%I ', current_schema(), name), format(' ON %I.%I ', fresh_schema, name))
    FROM pg_index
    JOIN pg_class AS index ON index.oid = indexrelid
   WHERE indrelid = to_regclass(format('%I.%I', current_schema(), name))
     AND indisvalid
     AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
     AND to_regclass(format('%I.%I', fresh_schema, index.relname)) IS NULL
   ORDER BY index.relname;
END;

DROP FUNCTION swap_table(text, text);

-- Puts fresh_schema.name where the ledger's table of that name is, in the caller's transaction; that one goes to aside_schema, or away
-- where that is null. With it come to the new table: grants, also of columns; row security and its policies; triggers; and the views that read the old
-- one, with their options. Where there is no fresh table, the old one only goes.
CREATE FUNCTION swap_table(fresh_schema text, name text, aside_schema text DEFAULT null) RETURNS void
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

-- Swaps all tables of a projection, or none.
CREATE FUNCTION swap_tables(fresh_schema text, names text[], aside_schema text) RETURNS void
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

REVOKE ALL ON FUNCTION swap_obstacles(text[]), added_indexes(text, text), swap_table(text, text, text), swap_tables(text, text[], text)
  FROM PUBLIC;
REVOKE ALL ON rebuilds, rebuild_slices, replaced_tables FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT SELECT ON rebuilds, rebuild_slices, replaced_tables TO %I', current_schema() || '_reader');
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM rebuilds) OR EXISTS (SELECT FROM replaced_tables) THEN
    RAISE EXCEPTION 'there are tables of rebuilds: they would be left without a record'
      USING HINT = 'jobledger rebuild --cancel or --drop-old takes them away.';
  END IF;
END
$$;
DROP FUNCTION swap_tables(text, text[], text);
DROP FUNCTION swap_table(text, text, text);
DROP FUNCTION added_indexes(text, text);
DROP FUNCTION swap_obstacles(text[]);
ALTER TABLE projections DROP COLUMN tables;
DROP TABLE replaced_tables;
DROP TABLE rebuild_slices;
DROP TABLE rebuilds;

-- As it was.
CREATE FUNCTION swap_table(fresh_schema text, name text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home  CONSTANT text     := current_schema();
  old   CONSTANT regclass := to_regclass(format('%I.%I', home, name));
  fresh CONSTANT regclass := format('%I.%I', fresh_schema, name);
  permission record;
  reader     record;
  views      text[] := '{}';
  statement  text;
BEGIN
  IF old IS NOT NULL THEN
    FOR permission IN
      SELECT privilege_type, is_grantable, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
        FROM pg_class, aclexplode(relacl)
       WHERE oid = old AND grantee <> relowner
    LOOP
      EXECUTE format('GRANT %s ON %s TO %s %s', permission.privilege_type, fresh, permission.grantee,
                     CASE WHEN permission.is_grantable THEN 'WITH GRANT OPTION' END);
    END LOOP;

    FOR reader IN
      SELECT DISTINCT view.oid, ' WITH (' || array_to_string(view.reloptions, ', ') || ')' AS options
        FROM pg_depend
        JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = 'pg_rewrite'::regclass
        JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class
       WHERE pg_depend.refclassid = 'pg_class'::regclass AND pg_depend.refobjid = old AND view.relkind = 'v'
    LOOP
      views := views || format('CREATE OR REPLACE VIEW %s%s AS %s', reader.oid::regclass, reader.options, pg_get_viewdef(reader.oid));
    END LOOP;

    -- Out of the way with its indexes, so that the views can be bound to the new table before the old one goes. Two tables
    -- of one name cannot meet in one schema, hence the third.
    EXECUTE format('CREATE SCHEMA %I', fresh_schema || '_old');
    EXECUTE format('ALTER TABLE %s SET SCHEMA %I', old, fresh_schema || '_old');
  END IF;

  EXECUTE format('ALTER TABLE %s SET SCHEMA %I', fresh, home);

  FOREACH statement IN ARRAY views LOOP
    EXECUTE statement;
  END LOOP;
  IF old IS NOT NULL THEN
    EXECUTE format('DROP TABLE %s', old);
    EXECUTE format('DROP SCHEMA %I', fresh_schema || '_old');
  END IF;
END
$$;

REVOKE ALL ON FUNCTION swap_table(text, text) FROM PUBLIC;
