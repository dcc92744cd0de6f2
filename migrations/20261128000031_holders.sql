-- Who holds the log, and leases, epochs and seals that no clock and no change of keys can confuse.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Who has locked the log right now: one transaction at most, by its session, or by its name where it was prepared and has none. Since when is
-- known where the owner of the ledger may see it, which takes pg_read_all_stats; how long others have been waiting is known to all.
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
    -- A prepared transaction has no session, but its number.
    LEFT JOIN lock AS number ON held.pid IS NULL AND number.pid IS NULL AND number.locktype = 'transactionid' AND number.granted
                            AND number.virtualtransaction = held.virtualtransaction
    LEFT JOIN pg_prepared_xacts AS p ON p.transaction = number.transactionid
    CROSS JOIN (SELECT count(*), min(waitstart) FROM lock WHERE is_of_log AND NOT granted) AS queue (waiting, since)
   WHERE held.is_of_log AND held.granted
   LIMIT 1;
END;

-- Ends the session that holds the log, if it is still in the same transaction, and has been for 5 s: who commits at once is nobody's to end. False
-- where there is nothing to end any more. The owner of the ledger needs two rights of the server for it, which are its administrator's to give.
CREATE FUNCTION end_log_holder(of_transaction text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  patience CONSTANT interval := '5 s';
  owner    CONSTANT text     := current_user;
  holder   record;
BEGIN
  SELECT * INTO holder FROM log_holder() AS h WHERE h.transaction = of_transaction;
  IF NOT found OR holder.held_for < patience THEN
    RETURN false;
  ELSIF holder.gid IS NOT NULL THEN
    RAISE EXCEPTION 'the log is held by the prepared transaction %, which only its owner % or a superuser can end', holder.gid, holder.username
      USING ERRCODE = 'object_in_use', HINT = pg_catalog.format('ROLLBACK PREPARED %L', holder.gid);
  ELSIF holder.held_for IS NOT NULL THEN
    RETURN pg_terminate_backend(holder.pid);
  END IF;
  RAISE insufficient_privilege;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE EXCEPTION 'the log is held by process % of %, which the owner of the ledger may not end', holder.pid, holder.username
    USING ERRCODE = 'insufficient_privilege',
          HINT = pg_catalog.format('GRANT pg_read_all_stats, pg_signal_backend TO %I; a session of a superuser can only be ended by one.', owner);
END
$$;

-- Nobody holds a lease for longer than this without renewing it. One that is to end later was taken by a clock that was ahead.
CREATE FUNCTION longest_lease() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
RETURN interval '1 min';

-- Whether a lease that ends then is held now.
CREATE FUNCTION is_held(until timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path FROM CURRENT
RETURN until BETWEEN clock_timestamp() AND clock_timestamp() + longest_lease();

-- Takes a lease that is free, run out, or ours. Returns its fence, or null while another holds it.
CREATE OR REPLACE FUNCTION take_lease(lease text, by_holder text, duration interval) RETURNS bigint
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

-- For who reads the log as that of one epoch: true, or an error once the ledger has begun another.
CREATE FUNCTION expect_epoch(expected uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  here CONSTANT uuid := (SELECT epoch FROM ledger);
BEGIN
  IF here IS DISTINCT FROM expected THEN
    RAISE EXCEPTION 'the ledger has begun the epoch %', here USING ERRCODE = 'JL021', HINT = 'Read its epoch and its log anew.';
  END IF;
  RETURN true;
END
$$;

-- A key may come back at the size at which it signed before: then the same size has another checkpoint of the same key, and the last is the one
-- that was sealed last, whatever the clock did meanwhile.
ALTER TABLE seal_checkpoints
  DROP CONSTRAINT seal_checkpoints_pkey,
  ADD CONSTRAINT seal_checkpoints_pkey PRIMARY KEY (size, sealed_at);

CREATE OR REPLACE FUNCTION add_to_seal(
  of_epoch uuid, from_size bigint, to_size bigint, new_edge bytea, tile_levels integer[], tile_numbers bigint[], tile_hashes bytea[],
  signed_by text, signed_note text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF to_size > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', to_size, head() USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE seal SET size = to_size, edge = new_edge, stopped = null, updated_at = clock_timestamp()
   WHERE size = from_size AND to_size >= from_size AND EXISTS (SELECT FROM ledger WHERE epoch = of_epoch);
  IF NOT found THEN
    RETURN false;
  END IF;
  INSERT INTO seal_tiles (level, number, hashes)
  SELECT level, number, hashes FROM unnest(tile_levels, tile_numbers, tile_hashes) AS tile (level, number, hashes);
  INSERT INTO seal_checkpoints (size, signer, note, sealed_at)
  SELECT to_size, signed_by, signed_note, greatest(clock_timestamp(), max(sealed_at) + interval '1 microsecond')
    FROM seal_checkpoints WHERE size = to_size;
  RETURN true;
END
$$;

REVOKE ALL ON FUNCTION log_holder(), end_log_holder(text), longest_lease(), is_held(timestamptz), expect_epoch(uuid) FROM PUBLIC;
DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY '{reader,relay,projector,sealer}'::text[] LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION longest_lease(), is_held(timestamptz) TO %I', current_schema() || '_' || role);
  END LOOP;
  EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION log_holder() TO %I, %I', current_schema() || '_reader', current_schema() || '_relay');
  EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION end_log_holder(text), expect_epoch(uuid) TO %I', current_schema() || '_relay');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE OR REPLACE FUNCTION add_to_seal(
  of_epoch uuid, from_size bigint, to_size bigint, new_edge bytea, tile_levels integer[], tile_numbers bigint[], tile_hashes bytea[],
  signed_by text, signed_note text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF to_size > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', to_size, head() USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE seal SET size = to_size, edge = new_edge, stopped = null, updated_at = clock_timestamp()
   WHERE size = from_size AND to_size >= from_size AND EXISTS (SELECT FROM ledger WHERE epoch = of_epoch);
  IF NOT found THEN
    RETURN false;
  END IF;
  INSERT INTO seal_tiles (level, number, hashes)
  SELECT level, number, hashes FROM unnest(tile_levels, tile_numbers, tile_hashes) AS tile (level, number, hashes);
  INSERT INTO seal_checkpoints (size, signer, note) VALUES (to_size, signed_by, signed_note);
  RETURN true;
END
$$;
-- Where a key has signed one size twice, both notes are the same.
ALTER TABLE seal_checkpoints DISABLE TRIGGER seal_checkpoints_only_grow;
DELETE FROM seal_checkpoints AS c
 WHERE EXISTS (SELECT FROM seal_checkpoints AS d WHERE d.size = c.size AND d.signer = c.signer AND d.sealed_at > c.sealed_at);
ALTER TABLE seal_checkpoints ENABLE ALWAYS TRIGGER seal_checkpoints_only_grow;
ALTER TABLE seal_checkpoints
  DROP CONSTRAINT seal_checkpoints_pkey,
  ADD CONSTRAINT seal_checkpoints_pkey PRIMARY KEY (size, signer);
DROP FUNCTION expect_epoch(uuid);
CREATE OR REPLACE FUNCTION take_lease(lease text, by_holder text, duration interval) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO leases AS held (name, holder, expires_at)
  VALUES (lease, by_holder, clock_timestamp() + duration)
  ON CONFLICT (name) DO UPDATE
     SET holder = excluded.holder,
         fence = held.fence + (held.holder <> excluded.holder)::integer,
         expires_at = excluded.expires_at
   WHERE held.expires_at < clock_timestamp() OR held.holder = excluded.holder
  RETURNING fence;
END;
DROP FUNCTION is_held(timestamptz);
DROP FUNCTION longest_lease();
DROP FUNCTION end_log_holder(text);
DROP FUNCTION log_holder();
