-- Rules that hold for all tables of the ledger.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- No number that the ledger keeps is so large that adding one to it, or adding two of them,
-- overflows. Roles with few rights write some of these numbers, and every reader adds to them. So
-- every bigint is within 2^62, and every double precision is finite. A table that comes later has
-- to say so by itself; a test looks for one that does not.
DO $do$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT c.relname, a.attname,
           -- NaN sorts after Infinity.
           CASE a.atttypid WHEN 'bigint'::regtype
             THEN 'CHECK (%1$I BETWEEN -4611686018427387903 AND 4611686018427387903)'
                           ELSE $$CHECK (%1$I > '-Infinity' AND %1$I < 'Infinity')$$ END AS bounds
      FROM pg_class AS c
      JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                            AND a.atttypid IN ('bigint'::regtype, 'double precision'::regtype)
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
     ORDER BY c.relname, a.attnum
  LOOP
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I ', found.relname,
      found.relname || '_' || found.attname || '_countable')
            || format(found.bounds, found.attname);
  END LOOP;
END
$do$;

-- No prepared transaction keeps a lock on rows that a part of the ledger waits for: see
-- forbid_prepare().
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY[
    'ledger', 'checkpoints', 'leases', 'subscriptions', 'tokens', 'projections', 'rebuilds', 'rebuild_slices',
    'replaced_tables', 'read_models', 'receipts', 'skipped_events', 'drift_checks', 'seal', 'seal_tiles',
    'seal_checkpoints', 'refusals', 'refusal_days']
  LOOP
    EXECUTE format(
      'CREATE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT
         WHEN (current_setting(''max_prepared_transactions'') <> ''0'') EXECUTE FUNCTION refuse_to_prepare_changes()',
      name || '_not_prepared', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', name, name || '_not_prepared');
  END LOOP;
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT c.conrelid::regclass AS relation, c.conname
      FROM pg_constraint AS c JOIN pg_class ON pg_class.oid = c.conrelid
     WHERE c.connamespace = current_schema()::regnamespace AND c.conname LIKE relname || '\_%\_countable'
  LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.relation, found.conname);
  END LOOP;
  FOR found IN
    SELECT tgrelid::regclass AS relation, tgname
      FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
     WHERE relnamespace = current_schema()::regnamespace AND tgname = relname || '_not_prepared'
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.relation);
  END LOOP;
END
$$;
