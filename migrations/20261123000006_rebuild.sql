-- How a rebuilt table takes the place of the one that is read.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Puts fresh_schema.name where the ledger's table of that name is, in the caller's transaction: grants go over to the new table,
-- and so do the views that read the old one, with their options. Anything else that depends on the old table makes it fail, and
-- nothing is changed. Indexes, triggers, policies and column grants that somebody added to the old table do not go over.
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

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION swap_table(text, text);
