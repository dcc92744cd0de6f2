-- The epochs of the ledger: at which position each began, when and why. With it, a reader of an
-- earlier epoch learns up to which position its history is still the ledger's.
--
-- A server that was promoted, or a cluster that was restored, may lack the last events that others
-- have seen, and gives their positions to other events. Both show in the timeline of the WAL, or in
-- the server's system identifier. So the first append on another of either begins an epoch.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The last row is the present epoch, which `ledger` has too.
CREATE TABLE epochs (
  number            integer     NOT NULL,
  epoch             uuid        NOT NULL,
  first_position    bigint      NOT NULL,  -- positions from here on belong to it, or to a later one
  began_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  reason            text        NOT NULL,
  of_source         boolean     NOT NULL DEFAULT false,  -- a copy has it from the ledger it is a copy of
  -- As text: it exceeds the numbers that the ledger allows.
  system_identifier text        NOT NULL,
  timeline          text        NOT NULL,  -- eight hexadecimal digits, as in the names of WAL files

  CONSTRAINT epochs_pkey                     PRIMARY KEY (number),
  CONSTRAINT epochs_number_positive          CHECK (number > 0),
  CONSTRAINT epochs_first_position_positive  CHECK (first_position > 0),
  CONSTRAINT epochs_first_position_countable
    CHECK (first_position BETWEEN -4611686018427387903 AND 4611686018427387903)
);

-- The timeline that this server writes. It changes with a promotion, also within a session that was
-- open before. pg_control_checkpoint() would show it only after the next checkpoint.
CREATE FUNCTION current_timeline() RETURNS text
LANGUAGE sql VOLATILE SET search_path FROM CURRENT
RETURN left(pg_walfile_name(pg_current_wal_lsn()), 8);

-- What the ledger had before it kept a record belongs to the present epoch, since no other is
-- known.
INSERT INTO epochs (number, epoch, first_position, began_at, reason, system_identifier, timeline)
SELECT 1, ledger.epoch, 1, ledger.created_at, 'the record of epochs began', pg_control_system.system_identifier::text,
       current_timeline()
  FROM ledger, pg_control_system();

CREATE TRIGGER epochs_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON epochs
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
CREATE TRIGGER epochs_not_prepared
  BEFORE INSERT OR UPDATE OR DELETE ON epochs FOR EACH STATEMENT
  WHEN (current_setting('max_prepared_transactions') <> '0') EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE epochs ENABLE ALWAYS TRIGGER epochs_only_grow, ENABLE ALWAYS TRIGGER epochs_not_prepared;

-- Begins an epoch, with the next position unless another is given. The log is locked.
CREATE FUNCTION add_epoch(
  new_epoch uuid, because text, is_of_source boolean DEFAULT false, first bigint DEFAULT null
) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO epochs (number, epoch, first_position, reason, of_source, system_identifier, timeline)
  SELECT (SELECT max(number) FROM epochs) + 1, new_epoch, coalesce(first, head() + 1), because, is_of_source,
         system_identifier::text, current_timeline()
    FROM pg_control_system();
  UPDATE ledger SET epoch = new_epoch, created_at = clock_timestamp();
END
$$;

-- An epoch whose first eight digits no other of this ledger has: readers name it by those.
CREATE FUNCTION unused_epoch() RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  unused uuid;
BEGIN
  LOOP
    unused := gen_random_uuid();
    EXIT WHEN NOT EXISTS (SELECT FROM epochs WHERE left(epoch::text, 8) = left(unused::text, 8));
  END LOOP;
  RETURN unused;
END
$$;

-- Notes that this session has looked at the timeline for this ledger. A session may append to
-- several ledgers. The note is undone with the transaction.
CREATE FUNCTION note_timeline() RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT set_config('jobledger.timeline',
                    coalesce(nullif(current_setting('jobledger.timeline', true), ''), ';') || current_schema() || ';',
                    false);
END;

-- Begins an epoch where the last one began on another server or timeline. The log is locked.
-- lock_log() calls it once a session: a server that accepts writes stays on its timeline until it
-- is restarted. A session that was open on a standby before the promotion has not called it yet.
CREATE FUNCTION follow_timeline() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  here CONSTANT text := current_timeline();
  last epochs;
BEGIN
  SELECT * INTO last FROM epochs ORDER BY number DESC LIMIT 1;
  IF last.system_identifier <> (SELECT system_identifier::text FROM pg_control_system()) THEN
    PERFORM add_epoch(unused_epoch(), 'another server: its system identifier differs');
  ELSIF last.timeline <> here THEN
    PERFORM add_epoch(unused_epoch(), format('timeline %s follows %s', here, last.timeline));
  END IF;
  PERFORM note_timeline();
END
$$;

-- As before, and it begins an epoch where the server has changed. The timeline that the session has
-- checked is in a setting. Whoever sets it by hand keeps the epoch from beginning with its own
-- appends; their order and the log stay as they are.
CREATE OR REPLACE FUNCTION lock_log() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
  longest CONSTANT interval := '5 s';
  done    text;
BEGIN
  -- One expression for what hardly ever is the case: Postgres prepares each one anew in each
  -- transaction.
  IF current_setting('transaction_isolation') <> 'read committed'
    OR current_setting('max_prepared_transactions') <> '0'
  THEN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      -- Its snapshot may be older than the last events, so it could only give their positions
      -- again.
      RAISE EXCEPTION 'append works in READ COMMITTED transactions, not in %',
        upper(current_setting('transaction_isolation'))
        USING ERRCODE = 'active_sql_transaction', HINT = 'Begin with BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    PERFORM forbid_prepare();
  END IF;
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
  -- From here on others wait for this transaction, which may be the caller's own. It may be idle,
  -- or run one statement, for 5 s, and its commit waits for the disk. A SET clause of this function
  -- would end with it.
  done := pg_catalog.concat(
    CASE WHEN current_setting('statement_timeout') = '0' OR current_setting('statement_timeout')::interval > longest
         THEN set_config('statement_timeout', '5s', true) END,
    CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
           OR current_setting('idle_in_transaction_session_timeout')::interval > longest
         THEN set_config('idle_in_transaction_session_timeout', '5s', true) END,
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END);
  IF strpos(coalesce(current_setting('jobledger.timeline', true), ''), ';' || current_schema() || ';') = 0
    AND current_setting('jobledger.timeline', true) IS DISTINCT FROM 'import'
  THEN
    PERFORM follow_timeline();
  END IF;
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the log locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
END
$$;

-- Begins another epoch with the next position. Run it after restoring the ledger from a backup or a
-- snapshot: subscribers may have seen events that are gone now, and their positions will be given
-- again. The change is on disk when the call's transaction has committed, like an event.
CREATE OR REPLACE FUNCTION begin_epoch() RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  begun uuid;
BEGIN
  -- A restore may also have changed the timeline. This epoch counts for both.
  PERFORM note_timeline();
  PERFORM lock_log();
  begun := unused_epoch();
  PERFORM add_epoch(begun, 'begun by begin_epoch()');
  RETURN begun;
END
$$;

-- The last position, at most `at_position`, up to which a reader's history is the ledger's. The
-- reader came to `at_position` in the epoch `of_epoch`: its first eight digits, or all of it. Null
-- stands for the present history. Of an epoch that the ledger does not know, nothing is shared.
CREATE FUNCTION shared_position(of_epoch text, at_position bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT CASE WHEN of_epoch IS NULL THEN least(at_position, head())
              ELSE coalesce(
                (SELECT least(at_position, head(),
                              (SELECT min(later.first_position) - 1 FROM epochs AS later
                                WHERE later.number > known.number))
                   FROM epochs AS known
                  WHERE lower(of_epoch) IN (left(known.epoch::text, 8), known.epoch::text)
                  ORDER BY known.number DESC LIMIT 1), 0)
         END;
END;

-- Moves a subscription on, never back, from a place in the epoch `of_epoch`, as shared_position()
-- takes it. Returns false where the holder does not hold it any more, or where the ledger does not
-- share the place of the subscription, or the one that is acknowledged. Otherwise the subscription
-- takes over the present epoch.
CREATE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint, of_epoch text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF of_epoch IS NULL AND up_to > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', up_to, head()
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE subscriptions
     SET position = greatest(position, up_to), epoch = (SELECT epoch FROM ledger), updated_at = clock_timestamp()
   WHERE name = subscription AND holder = holder_hash(by_holder) AND is_bound_to(bound_to)
     AND shared_position(of_epoch, up_to) = up_to AND shared_position(epoch::text, position) = position;
  RETURN found;
END
$$;

-- For a holder that does not know in which epoch it came to the position.
CREATE OR REPLACE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
RETURN acknowledge(subscription, by_holder, up_to, null);

-- Moves a subscription back to the last place that it shares with the ledger, and returns it. Its
-- holder calls this after it has dealt with what was lost. No row where it does not hold it.
CREATE FUNCTION rejoin_subscription(
  subscription text, by_holder text, OUT at_position bigint, OUT of_epoch uuid
) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  RETURN QUERY
    UPDATE subscriptions AS s
       SET position = shared_position(s.epoch::text, s.position), epoch = ledger.epoch, updated_at = clock_timestamp()
      FROM ledger
     WHERE s.name = subscription AND s.holder = holder_hash(by_holder) AND is_bound_to(s.bound_to)
    RETURNING s.position, s.epoch;
END
$$;

-- Whether the ledger has begun an epoch of its own after this one.
CREATE FUNCTION has_left_epoch(known_epoch uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM epochs AS known JOIN epochs AS later ON later.number > known.number
                  WHERE known.epoch = known_epoch AND NOT later.of_source);
END;

-- Begins an import, or continues one, and returns the head. A copy is the same log, so it has the
-- same epoch: an empty ledger takes the file's. Any other must have it already, or the caller has
-- compared the file with the log and found it to continue it: then the source has begun an epoch
-- meanwhile, which the copy takes over. A ledger that has begun an epoch of its own since has
-- become another log. The file must begin within the log or directly behind it.
DROP FUNCTION begin_import(uuid, bigint);
CREATE FUNCTION begin_import(of_epoch uuid, first_position bigint, is_compared boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT SET jobledger.timeline = 'import' AS $$
DECLARE
  here uuid;
BEGIN
  -- A client that was killed may have sent lines that are still being written. The head is known
  -- after that.
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || ' import', 0));
  PERFORM lock_log();
  here := (SELECT epoch FROM ledger);
  IF first_position > head() + 1 THEN
    RAISE EXCEPTION 'the file begins at position %, and the ledger ends at %', first_position, head()
      USING ERRCODE = 'JL020',
        HINT = format('First import what comes between: jobledger export --from %s --to %s', head() + 1,
          first_position - 1);
  ELSIF head() = 0 THEN
    IF here <> of_epoch THEN
      PERFORM add_epoch(of_epoch, 'taken over from the imported file', true);
    END IF;
  ELSIF here <> of_epoch AND (NOT is_compared OR has_left_epoch(of_epoch)) THEN
    RAISE EXCEPTION 'the ledger holds another log: its epoch is %, that of the file %', here, of_epoch
      USING ERRCODE = 'JL020',
        HINT = 'Import into an empty ledger: choose another JOBLEDGER_SCHEMA and run jobledger migrate.';
  ELSIF NOT EXISTS (SELECT FROM epochs WHERE epoch = of_epoch) THEN
    PERFORM add_epoch(of_epoch, 'taken over from the imported file', true);
  END IF;
  RETURN head();
END
$$;

-- An import begins no epoch: what it writes is the file's, on any server.
ALTER FUNCTION import_events(text[]) SET jobledger.timeline = 'import';

DO $$
DECLARE
  home CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  REVOKE ALL ON epochs FROM PUBLIC;
  REVOKE ALL ON FUNCTION begin_import(uuid, bigint, boolean), current_timeline(),
    add_epoch(uuid, text, boolean, bigint), has_left_epoch(uuid), unused_epoch(), note_timeline(), follow_timeline(),
    shared_position(text, bigint), acknowledge(text, text, bigint, text), rejoin_subscription(text, text) FROM PUBLIC;
  FOREACH statement IN ARRAY ARRAY[
    'GRANT SELECT ON epochs TO :reader, :subscriber, :relay, :projector, :sealer',
    'GRANT EXECUTE ON FUNCTION shared_position(text, bigint) TO :reader, :subscriber, :relay, :projector, :sealer',
    'GRANT EXECUTE ON FUNCTION acknowledge(text, text, bigint, text), rejoin_subscription(text, text) TO :subscriber']
  LOOP
    EXECUTE regexp_replace(statement, ':(\w+)', '"' || home || '_\1"', 'g');
  END LOOP;
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF (SELECT count(*) FROM epochs) > 1 THEN
    RAISE EXCEPTION 'the ledger has begun % epochs: dropping their record would lose where each began',
                    (SELECT count(*) FROM epochs)
      USING HINT = 'Drop the table epochs by hand if that is what you want.';
  END IF;
END
$$;
ALTER FUNCTION import_events(text[]) RESET jobledger.timeline;
DROP FUNCTION rejoin_subscription(text, text);

-- The functions as they were before.

CREATE OR REPLACE FUNCTION lock_log() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
  longest CONSTANT interval := '5 s';
  done    text;
BEGIN
  -- One expression for what hardly ever is the case: Postgres prepares each one anew in each
  -- transaction.
  IF current_setting('transaction_isolation') <> 'read committed'
    OR current_setting('max_prepared_transactions') <> '0'
  THEN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      -- Its snapshot may be older than the last events, so it could only give their positions
      -- again.
      RAISE EXCEPTION 'append works in READ COMMITTED transactions, not in %',
        upper(current_setting('transaction_isolation'))
        USING ERRCODE = 'active_sql_transaction', HINT = 'Begin with BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    PERFORM forbid_prepare();
  END IF;
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
  -- From here on others wait for this transaction, which may be the caller's own. It may be idle,
  -- or run one statement, for 5 s, and its commit waits for the disk. A SET clause of this function
  -- would end with it.
  done := pg_catalog.concat(
    CASE WHEN current_setting('statement_timeout') = '0' OR current_setting('statement_timeout')::interval > longest
         THEN set_config('statement_timeout', '5s', true) END,
    CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
           OR current_setting('idle_in_transaction_session_timeout')::interval > longest
         THEN set_config('idle_in_transaction_session_timeout', '5s', true) END,
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END);
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the log locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
END
$$;

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

CREATE OR REPLACE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF up_to > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', up_to, head()
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE subscriptions SET position = greatest(position, up_to), updated_at = clock_timestamp()
   WHERE name = subscription AND holder = holder_hash(by_holder) AND is_bound_to(bound_to)
       AND epoch = (SELECT epoch FROM ledger);
  RETURN found;
END
$$;

DROP FUNCTION begin_import(uuid, bigint, boolean);
CREATE FUNCTION begin_import(of_epoch uuid, first_position bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  here uuid;
BEGIN
  -- A client that was killed may have sent lines that are still being written. The head is known
  -- after that.
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || ' import', 0));
  PERFORM lock_log();
  here := (SELECT epoch FROM ledger);
  IF first_position > head() + 1 THEN
    RAISE EXCEPTION 'the file begins at position %, and the ledger ends at %', first_position, head()
      USING ERRCODE = 'JL020',
        HINT = format('First import what comes between: jobledger export --from %s --to %s', head() + 1,
          first_position - 1);
  ELSIF head() = 0 THEN
    UPDATE ledger SET epoch = of_epoch WHERE epoch <> of_epoch;
  ELSIF here <> of_epoch THEN
    RAISE EXCEPTION 'the ledger holds another log: its epoch is %, that of the file %', here, of_epoch
      USING ERRCODE = 'JL020',
        HINT = 'Import into an empty ledger: choose another JOBLEDGER_SCHEMA and run jobledger migrate.';
  END IF;
  RETURN head();
END
$$;

DROP FUNCTION acknowledge(text, text, bigint, text), shared_position(text, bigint), follow_timeline(),
  note_timeline(), unused_epoch(), add_epoch(uuid, text, boolean, bigint), has_left_epoch(uuid), current_timeline();
DROP TABLE epochs;
SELECT hand_over();
