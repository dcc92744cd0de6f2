-- What a ledger demands of each event before it is acknowledged or shown to anybody who acts on it:
--
--   local    it is on this server's disk
--   quorum   the standbys that synchronous_standby_names asks for have it too
--
-- An append reaches quorum when its own commit waits for the standbys. Or it commits at local,
-- which lets the next appender lock the log, and waits afterwards by durable_position(). Then
-- others can see what a failover may still take back. So readers ask durable_position() first.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

ALTER TABLE ledger
  ADD COLUMN durability text NOT NULL DEFAULT 'local',
  ADD CONSTRAINT ledger_durability_known CHECK (durability IN ('local', 'quorum'));

-- The level that the ledger demands, for roles that read no table.
CREATE FUNCTION demanded_durability() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT durability FROM ledger;
END;

-- Raises an error where the server has no standbys to wait for.
CREATE FUNCTION require_standbys() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('synchronous_standby_names') = '' THEN
    RAISE EXCEPTION 'the level quorum needs standbys, and this server waits for none'
      USING ERRCODE = 'JL022',
            HINT = 'Set synchronous_standby_names, for example by synchronous_mode in Patroni, or run: jobledger '
                   'durability local';
  END IF;
END
$$;

-- Makes the commit of this transaction wait for the standbys that the server asks for. The message
-- is WAL behind that of everything visible now. Nobody reads it.
CREATE FUNCTION await_quorum() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM require_standbys();
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  PERFORM pg_catalog.pg_logical_emit_message(true, 'jobledger', '');
END
$$;

-- The last position. When the transaction that asked has committed, and the server did not warn
-- that the wait for the standbys ended early, everything up to there has the level: the one that
-- the ledger demands unless another is given. Ask it in a transaction of its own.
CREATE FUNCTION durable_position(level text DEFAULT null) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  level := coalesce(level, (SELECT durability FROM ledger));
  IF level = 'quorum' THEN
    IF pg_is_in_recovery() THEN
      RAISE EXCEPTION 'a standby does not know what the other standbys have'
        USING ERRCODE = 'read_only_sql_transaction', HINT = 'Ask the primary.';
    END IF;
    PERFORM await_quorum();
  ELSIF level <> 'local' THEN
    RAISE EXCEPTION 'there is no level of durability %: it is local or quorum', level
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN head();
END
$$;

-- The same as a place: the position and the epoch's first eight digits.
CREATE FUNCTION durable_place(level text DEFAULT null) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  -- One snapshot for both.
  PERFORM durable_position(level);
  RETURN (SELECT head() || '.' || left(epoch::text, 8) FROM ledger);
END
$$;

-- Waits as await_events() does, and returns durable_position() once there are events.
CREATE FUNCTION await_durable_events(after bigint, longest_wait interval, every interval DEFAULT '1 ms') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
  head CONSTANT bigint := await_events(after, longest_wait, every);
BEGIN
  RETURN CASE WHEN head > after THEN durable_position() ELSE head END;
END
$$;

-- For an append whose transaction commits at local, although the ledger demands more: whoever calls
-- this takes it on itself to ask durable_position() afterwards, and to acknowledge nothing before.
CREATE FUNCTION confirm_afterwards() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM require_standbys();
  PERFORM set_config('synchronous_commit', 'local', true), set_config('jobledger.confirms', 'on', true);
END
$$;

-- The two triggers of a ledger that demands quorum. In other ledgers they are disabled, and cost
-- nothing. They look at the demand all the same: ENABLE TRIGGER ALL, as in what pg_restore
-- --disable-triggers runs, enables them everywhere. They have the owner's rights, because a
-- deferred trigger runs in the commit of a session that may have few.
CREATE FUNCTION raise_durability() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF demanded_durability() = 'quorum' THEN
    PERFORM require_standbys();
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  RETURN null;
END
$$;

CREATE FUNCTION refuse_commit_before_quorum() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF current_setting('jobledger.confirms', true) = 'on' OR demanded_durability() <> 'quorum' THEN
    RETURN null;
  END IF;
  PERFORM require_standbys();
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    RAISE EXCEPTION 'synchronous_commit was set to % in a transaction that appends, and the ledger demands quorum',
      current_setting('synchronous_commit')
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Leave synchronous_commit as it is.';
  END IF;
  RETURN null;
END
$$;

CREATE TRIGGER events_raise_durability
  BEFORE INSERT ON events FOR EACH STATEMENT
  WHEN (current_setting('jobledger.confirms', true) IS DISTINCT FROM 'on'
        AND current_setting('synchronous_commit') NOT IN ('on', 'remote_apply'))
  EXECUTE FUNCTION raise_durability();

-- Queued once a call, by its first event: the condition of events_on_disk, which comes after this
-- one in the alphabet, changes the setting.
CREATE CONSTRAINT TRIGGER events_at_quorum
  AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (current_setting('jobledger.appending', true) = 'on')
  EXECUTE FUNCTION refuse_commit_before_quorum();

ALTER TABLE events DISABLE TRIGGER events_raise_durability, DISABLE TRIGGER events_at_quorum;

-- Makes the ledger demand a level of every event from now on. Appends under way are waited for.
-- What is in the log already gets it before the call's transaction has committed.
CREATE FUNCTION demand_durability(level text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM lock_log();
  IF level = 'quorum' THEN
    PERFORM await_quorum();
    ALTER TABLE events ENABLE ALWAYS TRIGGER events_raise_durability, ENABLE ALWAYS TRIGGER events_at_quorum;
  ELSE
    ALTER TABLE events DISABLE TRIGGER events_raise_durability, DISABLE TRIGGER events_at_quorum;
    -- It is also the way out where no standby answers.
    PERFORM set_config('synchronous_commit', 'local', true);
  END IF;
  UPDATE ledger SET durability = level;
END
$$;

-- As before, and at the level that the ledger demands.
CREATE OR REPLACE FUNCTION await_standbys() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF current_setting('jobledger.confirms', true) = 'on' THEN
    RETURN;
  ELSIF (SELECT durability FROM ledger) = 'quorum' THEN
    PERFORM await_quorum();
  ELSIF current_setting('synchronous_standby_names') <> ''
    AND current_setting('synchronous_commit') NOT IN ('local', 'off')
  THEN
    PERFORM pg_catalog.pg_logical_emit_message(true, 'jobledger', '');
  END IF;
END
$$;

DO $$
DECLARE
  home CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  REVOKE ALL ON FUNCTION demanded_durability(), require_standbys(), await_quorum(), durable_position(text),
    durable_place(text), await_durable_events(bigint, interval, interval), confirm_afterwards(),
    raise_durability(), refuse_commit_before_quorum(), demand_durability(text) FROM PUBLIC;
  FOREACH statement IN ARRAY ARRAY[
    'GRANT EXECUTE ON FUNCTION demanded_durability(), durable_position(text), durable_place(text)
       TO :appender, :reader, :subscriber, :relay, :projector, :sealer',
    'GRANT EXECUTE ON FUNCTION await_durable_events(bigint, interval, interval)
       TO :reader, :relay, :projector, :sealer',
    'GRANT EXECUTE ON FUNCTION confirm_afterwards() TO :appender']
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
  IF (SELECT durability FROM ledger) <> 'local' THEN
    RAISE EXCEPTION 'the ledger demands the level %, and without this it could not',
                    (SELECT durability FROM ledger)
      USING HINT = 'Lower it first: jobledger durability local';
  END IF;
END
$$;
DROP FUNCTION demand_durability(text);
DROP TRIGGER events_at_quorum ON events;
DROP TRIGGER events_raise_durability ON events;
DROP FUNCTION refuse_commit_before_quorum(), raise_durability(), confirm_afterwards(),
  await_durable_events(bigint, interval, interval), durable_place(text), durable_position(text);

CREATE OR REPLACE FUNCTION await_standbys() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('synchronous_standby_names') <> ''
    AND current_setting('synchronous_commit') NOT IN ('local', 'off')
  THEN
    PERFORM pg_catalog.pg_logical_emit_message(true, 'jobledger', '');
  END IF;
END
$$;

DROP FUNCTION await_quorum(), require_standbys(), demanded_durability();
ALTER TABLE ledger DROP CONSTRAINT ledger_durability_known, DROP COLUMN durability;
