-- A position that was answered, or seen by anybody, is never given again: what numbers events is on the disk before it is visible, whatever
-- the session that appends has set. And nothing that holds the log, or a row that others wait for, outlives its session as a prepared transaction.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Makes Postgres refuse PREPARE TRANSACTION for the transaction under way: it does so after LISTEN and UNLISTEN, which cost microseconds and
-- leave nothing behind, and no statement can take them back but a rollback of what called this. A background process of the server cannot
-- listen, and cannot prepare either.
CREATE FUNCTION refuse_to_be_prepared() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  LISTEN jobledger_is_not_to_be_prepared;
  UNLISTEN jobledger_is_not_to_be_prepared;
EXCEPTION WHEN feature_not_supported THEN
  RETURN;
END
$$;

-- Waits for the right to number events. It must be a statement of its own: the next one then sees all that was committed before.
CREATE OR REPLACE FUNCTION begin_numbering() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
  bound CONSTANT interval := '5 s';
  done  text;
BEGIN
  -- One expression for what hardly ever is: Postgres prepares each anew in each transaction.
  IF current_setting('transaction_isolation') <> 'read committed' OR current_setting('max_prepared_transactions') <> '0' THEN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      -- Its snapshot may be older than the last events, and could only number them twice.
      RAISE EXCEPTION 'append works in READ COMMITTED transactions, not in %', upper(current_setting('transaction_isolation'))
        USING ERRCODE = 'active_sql_transaction', HINT = 'Begin with BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    -- The lock would be held for as long as nobody thinks of the transaction that was prepared.
    PERFORM refuse_to_be_prepared();
  END IF;
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
  -- Whatever comes of the call, the lock is held from here on: a caller with a transaction of its own must not dawdle. And its commit waits
  -- for the disk: a SET of the function itself would be gone by then.
  done := pg_catalog.concat(
    CASE WHEN current_setting('statement_timeout') = '0' OR current_setting('statement_timeout')::interval > bound
         THEN set_config('statement_timeout', '5s', true) END,
    CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
           OR current_setting('idle_in_transaction_session_timeout')::interval > bound
         THEN set_config('idle_in_transaction_session_timeout', '5s', true) END,
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END);
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the log locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
END
$$;

-- At the commit: has the setting been lowered since? In a transaction whose constraints are immediate it would be asked too early to tell.
CREATE FUNCTION refuse_commit_before_disk() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    RAISE EXCEPTION 'synchronous_commit was set to off in a transaction that appends: its positions could be given twice'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Leave synchronous_commit as it is, or set it to local at least.';
  ELSIF current_setting('jobledger.appending', true) = 'noted' THEN
    RAISE EXCEPTION 'the constraint % must be deferred in a transaction that appends', TG_NAME
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'SET CONSTRAINTS … IMMEDIATE after the append, or for your own constraints only.';
  END IF;
  RETURN null;
END
$$;

-- Once a statement, not once an event: the first notes that it has been noted, until the append function returns.
CREATE CONSTRAINT TRIGGER events_on_disk
  AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (current_setting('jobledger.appending', true) = 'on' AND set_config('jobledger.appending', 'noted', true) = 'noted')
  EXECUTE FUNCTION refuse_commit_before_disk();
CREATE CONSTRAINT TRIGGER ledger_on_disk
  AFTER UPDATE ON ledger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE FUNCTION refuse_commit_before_disk();

-- The same condition as before, where it costs no call of a function.
CREATE OR REPLACE FUNCTION refuse_insert_past_append() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'INSERT into events refused: events come in through append() or append_event()'
    USING ERRCODE = 'restrict_violation';
END
$$;
DROP TRIGGER events_appended_only ON events;
CREATE TRIGGER events_appended_only
  BEFORE INSERT ON events FOR EACH STATEMENT
  WHEN (coalesce(current_setting('jobledger.appending', true), 'off') NOT IN ('on', 'noted'))
  EXECUTE FUNCTION refuse_insert_past_append();

-- Also where session_replication_role says otherwise.
ALTER TABLE events ENABLE ALWAYS TRIGGER events_on_disk, ENABLE ALWAYS TRIGGER events_appended_only;
ALTER TABLE ledger ENABLE ALWAYS TRIGGER ledger_on_disk;

-- Begins another epoch. Run it after restoring the ledger from a backup: what subscribers have seen since is gone, and its
-- positions will be given again. It is on the disk when it is answered, like an event.
CREATE OR REPLACE FUNCTION begin_epoch() RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  begun uuid;
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  UPDATE ledger SET epoch = gen_random_uuid(), created_at = clock_timestamp() RETURNING epoch INTO begun;
  RETURN begun;
END
$$;

-- A prepared transaction that holds one of these rows would keep a part of the ledger from its work for ever.
CREATE FUNCTION refuse_to_prepare_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM refuse_to_be_prepared();
  RETURN null;
END
$$;
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{ledger,checkpoints,leases,projections,subscriptions,seal}'::text[] LOOP
    EXECUTE format(
      'CREATE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT
         WHEN (current_setting(''max_prepared_transactions'') <> ''0'') EXECUTE FUNCTION refuse_to_prepare_changes()',
      name || '_not_prepared', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', name, name || '_not_prepared');
  END LOOP;
END
$$;

REVOKE ALL ON FUNCTION refuse_to_be_prepared(), refuse_commit_before_disk(), refuse_to_prepare_changes() FROM PUBLIC;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{ledger,checkpoints,leases,projections,subscriptions,seal}'::text[] LOOP
    EXECUTE format('DROP TRIGGER %I ON %I', name || '_not_prepared', name);
  END LOOP;
END
$$;
DROP FUNCTION refuse_to_prepare_changes();
DROP TRIGGER ledger_on_disk ON ledger;
DROP TRIGGER events_on_disk ON events;
DROP TRIGGER events_appended_only ON events;
DROP FUNCTION refuse_commit_before_disk();

CREATE OR REPLACE FUNCTION refuse_insert_past_append() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('jobledger.appending', true) IS DISTINCT FROM 'on' THEN
    RAISE EXCEPTION 'INSERT into events refused: events come in through append() or append_event()'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN null;
END
$$;

CREATE TRIGGER events_appended_only
  BEFORE INSERT ON events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_insert_past_append();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_appended_only;

CREATE OR REPLACE FUNCTION begin_epoch() RETURNS uuid
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE ledger SET epoch = gen_random_uuid(), created_at = clock_timestamp() RETURNING epoch;
END;

-- Waits for the right to number events: take_serialiser() and bound_dawdling() in one, with fewer queries. It must be a statement of
-- its own: the next one then sees all that was committed before.
CREATE OR REPLACE FUNCTION begin_numbering() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
  bound CONSTANT interval := '5 s';
  done  text;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    -- Its snapshot may be older than the last events, and could only number them twice.
    RAISE EXCEPTION 'append works in READ COMMITTED transactions, not in %', upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'active_sql_transaction', HINT = 'Begin with BEGIN ISOLATION LEVEL READ COMMITTED.';
  END IF;
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
  -- Whatever comes of the call, the lock is held from here on: a caller with a transaction of its own must not dawdle. One assignment,
  -- for Postgres prepares each expression anew in each transaction.
  done := pg_catalog.concat(
    CASE WHEN current_setting('statement_timeout') = '0' OR current_setting('statement_timeout')::interval > bound
         THEN set_config('statement_timeout', '5s', true) END,
    CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
           OR current_setting('idle_in_transaction_session_timeout')::interval > bound
         THEN set_config('idle_in_transaction_session_timeout', '5s', true) END);
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the log locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
END
$$;
DROP FUNCTION refuse_to_be_prepared();
