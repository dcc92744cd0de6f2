-- A position that was answered, or that anybody has seen, is never given to another event. So
-- events are on disk before others see them, whatever the appending session has set. And no
-- prepared transaction keeps a lock that others wait for: it would outlive its session, until
-- somebody remembers it.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Makes Postgres refuse PREPARE TRANSACTION for the transaction under way. It does so after LISTEN
-- and UNLISTEN, which take microseconds, leave nothing behind, and are undone only by rolling back
-- the caller. A background worker of the server can neither listen nor prepare.
CREATE FUNCTION forbid_prepare() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  LISTEN jobledger_is_not_to_be_prepared;
  UNLISTEN jobledger_is_not_to_be_prepared;
EXCEPTION WHEN feature_not_supported THEN
  RETURN;
END
$$;

-- Checks at the commit that synchronous_commit was not turned off after the append. It must be
-- deferred: an immediate constraint would be checked too early to tell.
CREATE FUNCTION refuse_commit_before_disk() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  -- One expression for what is hardly ever so: Postgres prepares each anew in each transaction.
  IF current_setting('synchronous_commit') = 'off' OR current_setting('jobledger.appending', true) = 'noted' THEN
    IF current_setting('synchronous_commit') = 'off' THEN
      RAISE EXCEPTION 'synchronous_commit was set to off in a transaction that appends: its positions could be '
                      'given twice'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Leave synchronous_commit as it is, or set it to local at least.';
    END IF;
    RAISE EXCEPTION 'the constraint % must be deferred in a transaction that appends', TG_NAME
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'SET CONSTRAINTS … IMMEDIATE after the append, or for your own constraints only.';
  END IF;
  RETURN null;
END
$$;

-- Queued once a call, not once an event: the first event of a call sets jobledger.appending to
-- 'noted', which lasts until the append function returns.
CREATE CONSTRAINT TRIGGER events_on_disk
  AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (current_setting('jobledger.appending', true) = 'on'
        AND set_config('jobledger.appending', 'noted', true) = 'noted')
  EXECUTE FUNCTION refuse_commit_before_disk();

CREATE CONSTRAINT TRIGGER ledger_on_disk
  AFTER UPDATE ON ledger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE FUNCTION refuse_commit_before_disk();

ALTER TABLE events ENABLE ALWAYS TRIGGER events_on_disk;
ALTER TABLE ledger ENABLE ALWAYS TRIGGER ledger_on_disk;

-- For the tables whose rows others wait for.
CREATE FUNCTION refuse_to_prepare_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM forbid_prepare();
  RETURN null;
END
$$;

-- For the tables that are records: their rows are added and never changed.
CREATE FUNCTION refuse_change_of_record() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of % refused: it is a record, and only grows', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP TRIGGER ledger_on_disk ON ledger;
DROP TRIGGER events_on_disk ON events;
DROP FUNCTION refuse_change_of_record(), refuse_to_prepare_changes(), refuse_commit_before_disk(), forbid_prepare();
