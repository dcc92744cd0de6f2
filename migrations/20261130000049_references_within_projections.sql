-- Tables of one projection may refer to each other, with foreign keys. The ledger takes all tables
-- of a projection over at once, so that it sees both ends of each.
--
-- A foreign key makes whoever deletes rows of one table delete or change rows of the other, and
-- wait for it. Triggers of the other table run then, deferred ones even with the rights of whoever
-- commits. So both ends belong to the owner and are read models of one projection, and nobody
-- else's table is an end.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- A foreign key between one of these tables and one that is not among them, in words: what the
-- table among them does. Null if there is none.
CREATE FUNCTION stray_reference(models regclass[], OUT model regclass, OUT problem text)
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT CASE WHEN conrelid = ANY (models) THEN conrelid ELSE confrelid END::regclass,
         CASE
           WHEN conrelid = ANY (models)
             THEN format('it refers to %s, which is no table of its projection', confrelid::regclass)
           ELSE format('%s refers to it, and is no table of its projection', conrelid::regclass)
         END
    FROM pg_constraint
   WHERE contype = 'f' AND (conrelid = ANY (models)) <> (confrelid = ANY (models))
   ORDER BY conname, conrelid
   LIMIT 1;
END;

DROP FUNCTION take_ownership(regclass, regclass), claim_fresh_table(text, text, regclass);

-- A function that an expression of the table calls (a default, a constraint, an index, statistics)
-- and that could do anything when it runs; null if there is none. Expressions run with the rights
-- of whoever writes to the table, and behind a foreign key with those of its owner. Which functions
-- an expression uses says pg_depend, but not of those that are Postgres's own, and some of these,
-- such as query_to_xml(), run SQL from a text. So only those are allowed whose result is a matter
-- of their arguments alone, and those that defaults commonly call.
CREATE FUNCTION unsafe_function(model regclass) RETURNS text
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  WITH expression (tree) AS (
    SELECT adbin::text FROM pg_attrdef WHERE adrelid = model
    UNION ALL
    SELECT conbin::text FROM pg_constraint WHERE conrelid = model
    UNION ALL
    SELECT stxexprs::text FROM pg_statistic_ext WHERE stxrelid = model
    UNION ALL
    SELECT concat(indexprs::text, indpred::text) FROM pg_index WHERE indrelid = model
  ), called (function) AS (
    SELECT found[1]::oid
      FROM expression, regexp_matches(tree, ':(?:funcid|opfuncid|hashfuncid|negfuncid) ([0-9]+)', 'g') AS found
    UNION
    SELECT oprcode::oid
      FROM expression, regexp_matches(tree, ':opno ([0-9]+)', 'g') AS found
      JOIN pg_operator ON pg_operator.oid = found[1]::oid
  )
  SELECT min(pg_proc.oid::regprocedure::text)
    FROM called
    JOIN pg_proc ON pg_proc.oid = called.function
   WHERE provolatile <> 'i'
     AND NOT (pronamespace = 'pg_catalog'::regnamespace
              AND proname IN ('nextval', 'now', 'transaction_timestamp', 'statement_timestamp', 'clock_timestamp',
                              'gen_random_uuid', 'random', 'timestamptz', 'timestamp', 'date'));
END;

-- Refuses a transaction that does not see what somebody has just added to a table.
CREATE FUNCTION require_present_snapshot() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'tables are taken over in transactions that are READ COMMITTED, not %',
                    upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'insufficient_privilege', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED';
  END IF;
END
$$;

-- Gives tables of LEDGER_projector to the owner, for good: nobody else can give them triggers,
-- policies or rules from here on. Each has to be a plain table that runs no stranger's code, except
-- for what somebody gave to the table that it replaces, such as an index. They may refer to each
-- other and to nothing else.
CREATE FUNCTION take_ownership(models regclass[], in_place_of regclass[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  owner   CONSTANT text := current_schema() || '_owner';
  model   regclass;
  found   record;
  problem text;
BEGIN
  -- ALTER TABLE locks the table, so nothing is added to any of them after the checks.
  FOREACH model IN ARRAY models LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO %I', model, owner);
    -- GRANT takes no lock, only the rows of the catalog that it changes. So each is changed here,
    -- too: a grant that is under way then fails, or is seen and taken back below.
    EXECUTE coalesce((
      SELECT format('GRANT SELECT (%1$s) ON %2$s TO %3$I; REVOKE SELECT (%1$s) ON %2$s FROM %3$I',
                    string_agg(quote_ident(attname), ', '), model, owner)
        FROM pg_attribute WHERE attrelid = model AND attnum > 0 AND NOT attisdropped
      HAVING count(*) > 0), 'SELECT');
  END LOOP;

  SELECT stray.model, stray.problem INTO model, problem FROM stray_reference(models) AS stray;
  IF problem IS NULL THEN
    SELECT taken.model, finding.problem
      INTO model, problem
      FROM unnest(models, in_place_of) AS taken (model, replaced)
      JOIN pg_class ON pg_class.oid = taken.model,
           LATERAL (SELECT CASE
             -- The statements above name the tables, and somebody may have exchanged two names.
             WHEN relowner <> owner::regrole THEN 'it was renamed meanwhile'
             WHEN relkind <> 'r' OR relispartition
               OR EXISTS (SELECT FROM pg_inherits WHERE taken.model IN (inhrelid, inhparent))
               THEN 'it is not a plain table'
             WHEN unsafe_function(taken.model) IS NOT NULL
               THEN 'an expression of it calls ' || unsafe_function(taken.model)
             WHEN EXISTS (SELECT FROM pg_cast JOIN pg_type AS row ON row.typrelid = taken.model
                           WHERE castsource IN (row.oid, row.typarray) OR casttarget IN (row.oid, row.typarray))
               THEN 'its row type has a cast'
             WHEN relpersistence <> 'p' THEN 'it is UNLOGGED, and would be empty after a crash'
             WHEN relhasrules THEN 'it has rules'
             WHEN relrowsecurity OR relforcerowsecurity
               OR EXISTS (SELECT FROM pg_policy WHERE polrelid = taken.model)
               THEN 'it has row security'
             WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = taken.model AND NOT tgisinternal)
               THEN 'it has triggers'
             WHEN EXISTS (SELECT FROM pg_constraint
                           WHERE conrelid = taken.model AND contype = 'f' AND condeferrable)
               -- A swap could not move a table whose rows are still to be checked.
               THEN 'it has a foreign key that is checked at the end of a transaction'
             ELSE (
               SELECT 'it uses the ' || min(use)
                 FROM (SELECT foreign_dependencies(taken.model) EXCEPT SELECT foreign_dependencies(replaced))
                        AS foreign_use (use))
           END) AS finding (problem)
     WHERE finding.problem IS NOT NULL
     LIMIT 1;
  END IF;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION 'the table % cannot be a read model: %', model, problem
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Its schema.sql makes tables and indexes of what Postgres or the ledger''s owner has. Triggers '
                   'and policies are given by the owner, afterwards.';
  END IF;

  -- What their maker has granted for references and triggers, the owner does not grant.
  FOR found IN
    SELECT DISTINCT oid::regclass AS model,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
      FROM (SELECT oid, relacl AS acl FROM pg_class WHERE oid = ANY (models)
            UNION ALL
            SELECT attrelid, attacl FROM pg_attribute WHERE attrelid = ANY (models)) AS granted,
           aclexplode(acl)
     WHERE grantee <> owner::regrole
  LOOP
    EXECUTE format('REVOKE TRIGGER, REFERENCES ON %s FROM %s CASCADE', found.model, found.grantee);
    EXECUTE format('REVOKE GRANT OPTION FOR ALL ON %s FROM %s CASCADE', found.model, found.grantee);
  END LOOP;
END
$$;

-- The tables of these names in a schema beside the ledger's, taken over; null where there is none.
-- Those that are the owner's already come as they are: a rebuild has put them aside.
CREATE FUNCTION claim_fresh_tables(from_schema text, names text[], in_place_of regclass[]) RETURNS regclass[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  home      CONSTANT text := current_schema();
  projector CONSTANT text := home || '_projector';
  fresh     CONSTANT regclass[] := ARRAY(
    SELECT CASE WHEN from_schema <> home THEN to_regclass(format('%I.%I', from_schema, name)) END
      FROM unnest(names) WITH ORDINALITY AS named (name, place)
     ORDER BY place);
  stranger  CONSTANT text := (
    SELECT min(relname) FROM pg_class
     WHERE oid = ANY (fresh) AND pg_get_userbyid(relowner) NOT IN (projector, home || '_owner'));
  tied      regclass;
  reason    text;
BEGIN
  PERFORM require_present_snapshot();
  IF stranger IS NOT NULL THEN
    RAISE EXCEPTION '%.% is not a table of %', from_schema, stranger, projector
      USING ERRCODE = 'insufficient_privilege',
        HINT = format('As its owner: ALTER TABLE %I.%I OWNER TO %I', from_schema, stranger, projector);
  END IF;
  PERFORM take_ownership(array_agg(model), array_agg(replaced))
     FROM unnest(fresh, in_place_of) AS claimed (model, replaced)
     JOIN pg_class ON pg_class.oid = model AND relowner = projector::regrole
   HAVING count(*) > 0;
  -- The owner's tables come as they are, but not with a foreign key that would tie them to others.
  SELECT stray.model, stray.problem INTO tied, reason FROM stray_reference(array_remove(fresh, null)) AS stray;
  IF reason IS NOT NULL THEN
    RAISE EXCEPTION 'the table % cannot be a read model: %', tied, reason USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN fresh;
END
$$;

-- As before, and looks at the table again: the statement names it, and somebody may have exchanged
-- two names while it waited for a lock.
CREATE OR REPLACE FUNCTION install_read_model(fresh regclass, name text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s SET SCHEMA %I', fresh, current_schema());
  IF NOT EXISTS (SELECT FROM pg_class
                  WHERE oid = fresh AND relname = name AND relnamespace = current_schema()::regnamespace
                    AND relowner = (current_schema() || '_owner')::regrole) THEN
    RAISE EXCEPTION 'the table % cannot be a read model: it was renamed meanwhile', name
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO read_models VALUES (name) ON CONFLICT DO NOTHING;
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I.%I TO %I',
                 current_schema(), name, current_schema() || '_projector');
  EXECUTE format('GRANT SELECT ON %I.%I TO %I', current_schema(), name, current_schema() || '_reader');
END
$$;

-- Makes read models of all tables of a projection, which are in a schema beside the ledger's.
CREATE FUNCTION adopt_tables(from_schema text, names text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  fresh CONSTANT regclass[] := claim_fresh_tables(from_schema, names, null);
BEGIN
  FOR place IN 1..cardinality(fresh) LOOP
    IF fresh[place] IS NULL THEN
      RAISE EXCEPTION 'there is no table %.%', from_schema, names[place] USING ERRCODE = 'undefined_table';
    END IF;
    PERFORM install_read_model(fresh[place], names[place]);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION adopt_table(from_schema text, name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM adopt_tables(from_schema, ARRAY[name]);
END
$$;

-- Puts the tables of these names in fresh_schema in the place of the ledger's, and the ledger's
-- into aside_schema. Where there is no fresh table, the old one only goes. Touches read models and
-- nothing else. Foreign keys between the tables on one side stay as they are; none is left between
-- the two sides.
CREATE OR REPLACE FUNCTION exchange_tables(fresh_schema text, names text[], aside_schema text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  home CONSTANT text := current_schema();
  old  CONSTANT regclass[] := ARRAY(
    SELECT to_regclass(format('%I.%I', home, name))
      FROM unnest(names) WITH ORDINALITY AS named (name, place)
     ORDER BY place);
  fresh     regclass[];
  model     text;
  problem   text;
  triggers  text[];
  statement text;
BEGIN
  PERFORM require_present_snapshot();
  IF aside_schema = home THEN
    RAISE EXCEPTION 'read models are put aside into another schema than %', home
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  SELECT relname INTO model FROM pg_class
   WHERE oid = ANY (old) AND NOT EXISTS (SELECT FROM read_models WHERE read_models.name = relname) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '%.% is not replaced: it is not a read model', home, model
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  SELECT format('the foreign key %I of %s refers to %s', conname, conrelid::regclass, confrelid::regclass)
    INTO problem
    FROM pg_constraint
   WHERE contype = 'f' AND confrelid = ANY (old) AND conrelid <> ALL (array_remove(old, null))
      OR contype = 'f' AND conrelid = ANY (old) AND confrelid <> ALL (array_remove(old, null))
         AND connamespace = home::regnamespace
         AND confrelid IN (SELECT oid FROM pg_class WHERE relnamespace = home::regnamespace)
   ORDER BY conname
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the tables cannot be replaced: %', problem
      USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Tables that refer to each other are replaced together.';
  END IF;
  fresh := claim_fresh_tables(fresh_schema, names, old);
  FOR place IN 1..cardinality(names) LOOP
    triggers := CASE WHEN old[place] IS NOT NULL AND fresh[place] IS NOT NULL
                  THEN copy_rights(old[place], fresh[place]) END;
    IF old[place] IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %s SET SCHEMA %I', old[place], aside_schema);
      DELETE FROM read_models WHERE read_models.name = names[place];
    END IF;
    IF fresh[place] IS NOT NULL THEN
      PERFORM install_read_model(fresh[place], names[place]);
    END IF;
    FOREACH statement IN ARRAY coalesce(triggers, '{}') LOOP
      EXECUTE statement;
    END LOOP;
  END LOOP;
END
$$;

DO $$
BEGIN
  REVOKE ALL ON FUNCTION stray_reference(regclass[]), unsafe_function(regclass), require_present_snapshot(),
    take_ownership(regclass[], regclass[]),
    claim_fresh_tables(text, text[], regclass[]), adopt_tables(text, text[]) FROM PUBLIC;
  EXECUTE format('GRANT EXECUTE ON FUNCTION adopt_tables(text, text[]) TO %I', current_schema() || '_projector');
END
$$;

-- Tables that were taken over earlier were not asked for such expressions.
DO $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT name, unsafe_function(to_regclass(format('%I.%I', current_schema(), name))) AS function FROM read_models
  LOOP
    CONTINUE WHEN found.function IS NULL;
    RAISE WARNING 'an expression of the read model % calls %, which runs with the rights of whoever writes to it',
                  found.name, found.function
      USING HINT = 'Look at the defaults, constraints and statistics of the table. It cannot be rebuilt with these.';
  END LOOP;
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  reference CONSTANT text := (
    SELECT min(format('%s refers to %s', conrelid::regclass, confrelid::regclass))
      FROM pg_constraint
      JOIN pg_class ON pg_class.oid = confrelid
      JOIN read_models ON read_models.name = relname
     WHERE contype = 'f' AND relnamespace = current_schema()::regnamespace AND conrelid <> confrelid);
BEGIN
  IF reference IS NOT NULL THEN
    RAISE EXCEPTION 'the read model %, and could not be rebuilt any more', reference
      USING HINT = 'Stay at this version.';
  END IF;
END
$$;

DROP FUNCTION adopt_tables(text, text[]), claim_fresh_tables(text, text[], regclass[]),
  take_ownership(regclass[], regclass[]), stray_reference(regclass[]), unsafe_function(regclass),
  require_present_snapshot();

CREATE OR REPLACE FUNCTION install_read_model(fresh regclass, name text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s SET SCHEMA %I', fresh, current_schema());
  INSERT INTO read_models VALUES (name) ON CONFLICT DO NOTHING;
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I.%I TO %I',
                 current_schema(), name, current_schema() || '_projector');
  EXECUTE format('GRANT SELECT ON %I.%I TO %I', current_schema(), name, current_schema() || '_reader');
END
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

-- Makes a read model of a table in a schema beside the ledger's.
CREATE OR REPLACE FUNCTION adopt_table(from_schema text, name text) RETURNS void
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
CREATE OR REPLACE FUNCTION exchange_tables(fresh_schema text, names text[], aside_schema text) RETURNS void
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

REVOKE ALL ON FUNCTION take_ownership(regclass, regclass), claim_fresh_table(text, text, regclass) FROM PUBLIC;

SELECT hand_over();
