-- No number that the ledger keeps is so large that one more, or the sum of two, would not exist. Roles with few rights write some of them, and
-- every reader adds to them.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- 2^62 - 1. What is there already was counted, one by one.
ALTER DOMAIN event_position ADD CONSTRAINT event_position_countable CHECK (VALUE < 4611686018427387904);

-- Every bigint of every table that is the ledger's own; and every double precision is a number, and one with an end. A later table has to say so
-- by itself; a test looks for one that does not.
DO $do$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT c.relname, a.attname,
           -- NaN comes behind Infinity.
           CASE a.atttypid WHEN 'bigint'::regtype THEN 'CHECK (%1$I BETWEEN -4611686018427387903 AND 4611686018427387903)'
                           ELSE $$CHECK (%1$I > '-Infinity' AND %1$I < 'Infinity')$$ END AS bounds
      FROM pg_class AS c
      JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                            AND a.atttypid IN ('bigint'::regtype, 'double precision'::regtype)
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relowner = (current_schema() || '_owner')::regrole
     ORDER BY c.relname, a.attnum
  LOOP
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I ', found.relname, found.relname || '_' || found.attname || '_countable')
            || format(found.bounds, found.attname);
  END LOOP;
END
$do$;

-- As it was, but no patience and no pause takes it beyond what a session may be kept waiting for.
CREATE OR REPLACE FUNCTION await_events(after bigint, patience interval, every interval DEFAULT '1 ms') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + greatest(least(patience, '10 s'), '0');
  pause    CONSTANT interval    := greatest(least(every, '1 s'), '0');
  head              bigint;
BEGIN
  LOOP
    -- Each look is a statement of a volatile function, and so sees what has been committed meanwhile.
    SELECT e.position INTO head FROM events AS e ORDER BY e.position DESC LIMIT 1;
    EXIT WHEN head > after OR clock_timestamp() >= deadline;
    PERFORM pg_sleep_for(pause);
  END LOOP;
  RETURN coalesce(head, 0);
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE OR REPLACE FUNCTION await_events(after bigint, patience interval, every interval DEFAULT '1 ms') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + least(patience, '10 s');
  head              bigint;
BEGIN
  LOOP
    -- Each look is a statement of a volatile function, and so sees what has been committed meanwhile.
    SELECT e.position INTO head FROM events AS e ORDER BY e.position DESC LIMIT 1;
    EXIT WHEN head > after OR clock_timestamp() >= deadline;
    PERFORM pg_sleep_for(every);
  END LOOP;
  RETURN coalesce(head, 0);
END
$$;

DO $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT conrelid::regclass AS name, conname
      FROM pg_constraint
     WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0 AND conname LIKE '%\_countable'
  LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.name, found.conname);
  END LOOP;
END
$$;
ALTER DOMAIN event_position DROP CONSTRAINT event_position_countable;
