-- What readers of the log share: how far each is, and which of several processes is at work.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The last position that a reader has processed. The turns of appenders are kept here too, as
-- readers named 'append …': see await_turn().
CREATE TABLE checkpoints (
  reader     text        NOT NULL,
  position   bigint      NOT NULL DEFAULT 0,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT checkpoints_pkey                  PRIMARY KEY (reader),
  CONSTRAINT checkpoints_position_not_negative CHECK (position >= 0)
);

-- Moves a reader on from the position that it knows. Returns false where the reader is elsewhere,
-- because another process has moved it.
CREATE FUNCTION advance_checkpoint(of_reader text, from_position bigint, to_position bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE checkpoints SET position = to_position, updated_at = clock_timestamp()
   WHERE reader = of_reader AND position = from_position;
  RETURN found;
END
$$;

-- Who is at work. A holder renews its lease well before it runs out; another can take it after
-- that. So a killed holder is replaced within seconds, whether or not its connection was noticed to
-- be gone. A lease saves two processes from doing the same work. What makes double work harmless is
-- the compare-and-swap on the checkpoint.
CREATE TABLE leases (
  name       text        NOT NULL,
  holder     text        NOT NULL,
  fence      bigint      NOT NULL DEFAULT 1,  -- rises with every change of holder
  expires_at timestamptz NOT NULL,

  CONSTRAINT leases_pkey PRIMARY KEY (name)
);

-- No lease lasts longer without renewal. One that ends later was written while the clock was ahead,
-- and is not believed.
CREATE FUNCTION longest_lease() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
RETURN interval '1 min';

-- Whether a lease that ends then is held now.
CREATE FUNCTION is_held(until timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path FROM CURRENT
RETURN until BETWEEN clock_timestamp() AND clock_timestamp() + longest_lease();

-- Takes a lease that is free, has run out, or is the holder's own. Returns its fence, or null while
-- another holds it.
CREATE FUNCTION take_lease(lease text, by_holder text, duration interval) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO leases AS held (name, holder, expires_at)
  VALUES (lease, by_holder, clock_timestamp() + least(duration, longest_lease()))
  ON CONFLICT (name) DO UPDATE
     SET holder = excluded.holder,
         fence = held.fence + (held.holder <> excluded.holder)::integer,
         expires_at = excluded.expires_at
   WHERE NOT is_held(held.expires_at) OR held.holder = excluded.holder
  RETURNING fence;
END;

CREATE FUNCTION release_lease(lease text, by_holder text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE leases SET expires_at = '-infinity' WHERE name = lease AND holder = by_holder;
END;

-- The transaction that has locked the log, if there is one, by its session, or by its name where it
-- was prepared and has no session. `held_for` is known where the ledger's owner may see it, which
-- takes pg_read_all_stats. How long others have been waiting is known to all.
CREATE FUNCTION log_holder(
  OUT pid integer, OUT gid text, OUT username text, OUT application text, OUT transaction text, OUT held_for interval,
  OUT waiting bigint, OUT longest_wait interval
) RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 1 SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  WITH lock AS MATERIALIZED (
    SELECT l.*, l.relation = 'serialiser'::regclass AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
             AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AS is_of_log
      FROM pg_locks AS l
  )
  SELECT held.pid, p.gid, coalesce(a.usename, p.owner)::text, a.application_name, held.virtualtransaction,
         clock_timestamp() - coalesce(a.xact_start, p.prepared), queue.waiting, clock_timestamp() - queue.since
    FROM lock AS held
    LEFT JOIN pg_stat_activity AS a ON a.pid = held.pid
    -- A prepared transaction has no session; its locks lead to its number, and that to its name.
    LEFT JOIN lock AS number ON held.pid IS NULL AND number.pid IS NULL AND number.locktype = 'transactionid'
      AND number.granted
                            AND number.virtualtransaction = held.virtualtransaction
    LEFT JOIN pg_prepared_xacts AS p ON p.transaction = number.transactionid
    CROSS JOIN (SELECT count(*), min(waitstart) FROM lock WHERE is_of_log AND NOT granted) AS queue (waiting, since)
   WHERE held.is_of_log AND held.granted
   LIMIT 1;
END;

-- Ends the session that holds the log, if it is still in the same transaction and has been for 5 s.
-- Returns false where there is nothing to end any more. The ledger's owner needs two rights of the
-- server for it, which its administrator grants.
CREATE FUNCTION end_log_holder(of_transaction text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  least_hold CONSTANT interval := '5 s';
  owner    CONSTANT text     := current_user;
  holder   record;
BEGIN
  SELECT * INTO holder FROM log_holder() AS h WHERE h.transaction = of_transaction;
  IF NOT found OR holder.held_for < least_hold THEN
    RETURN false;
  ELSIF holder.gid IS NOT NULL THEN
    RAISE EXCEPTION 'the log is held by the prepared transaction %, which only its owner % or a superuser can end',
      holder.gid, holder.username
      USING ERRCODE = 'object_in_use', HINT = pg_catalog.format('ROLLBACK PREPARED %L', holder.gid);
  ELSIF holder.held_for IS NOT NULL THEN
    RETURN pg_terminate_backend(holder.pid);
  END IF;
  RAISE insufficient_privilege;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE EXCEPTION 'the log is held by process % of %, which the owner of the ledger may not end', holder.pid,
    holder.username
    USING ERRCODE = 'insufficient_privilege',
          HINT = pg_catalog.format('GRANT pg_read_all_stats, pg_signal_backend TO %I; a session of a superuser can '
                                   'only be ended by one.', owner);
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION end_log_holder(text), log_holder(), release_lease(text, text), take_lease(text, text, interval),
  is_held(timestamptz), longest_lease();
DROP TABLE leases;
DROP FUNCTION advance_checkpoint(text, bigint, bigint);
DROP TABLE checkpoints;
