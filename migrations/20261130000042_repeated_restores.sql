-- A relay that runs through the restore of a snapshot has begun an epoch, which a second restore of
-- the same snapshot takes back. Then the relay's events are of an epoch that the log does not know,
-- and the log may have others in their places all the same.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- As before, for an epoch that is the current one or unknown. After an epoch that the log knows
-- another one has begun already, as it should.
--
-- It does not wait for the standbys while it has the log: where none answers, nobody could append.
-- An epoch that is lost with its server is noticed anew.
CREATE OR REPLACE FUNCTION notice_restore(of_epoch text, positions bigint[], ids uuid[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  is_known CONSTANT boolean := EXISTS (SELECT FROM epochs WHERE lower(of_epoch) IN (left(epoch::text, 8), epoch::text));
  fork bigint;
  kept bigint;
BEGIN
  IF cardinality(positions) IS DISTINCT FROM cardinality(ids) OR cardinality(positions) > 100000 THEN
    RAISE EXCEPTION 'each position has one id, and at most 100,000 are compared'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM set_config('synchronous_commit', 'local', true);
  -- It begins an epoch itself where the server is another one.
  PERFORM lock_log();
  IF NOT is_known OR lower(of_epoch) IN (SELECT unnest(ARRAY[left(epoch::text, 8), epoch::text]) FROM ledger) THEN
    SELECT min(published.position) INTO fork
      FROM unnest(positions, ids) AS published (position, id)
           LEFT JOIN events USING (position)
     WHERE events.event_id IS DISTINCT FROM published.id;
    SELECT coalesce(max(position), 0) INTO kept FROM unnest(positions) AS position WHERE position < fork;
    -- Of an unknown epoch it may be old knowledge: if an epoch has begun there or later, the log
    -- has gone on since.
    IF fork IS NOT NULL AND (is_known OR kept + 1 > (SELECT max(first_position) FROM epochs)) THEN
      PERFORM add_epoch(unused_epoch(), format('restored: the event at position %s is another one, or gone', fork),
                        first => kept + 1);
    END IF;
  END IF;
  RETURN shared_position(of_epoch, (SELECT max(position) FROM unnest(positions) AS position));
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE OR REPLACE FUNCTION notice_restore(of_epoch text, positions bigint[], ids uuid[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  fork bigint;
  kept bigint;
BEGIN
  IF cardinality(positions) IS DISTINCT FROM cardinality(ids) OR cardinality(positions) > 100000 THEN
    RAISE EXCEPTION 'each position has one id, and at most 100,000 are compared'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- It begins an epoch itself where the server is another one.
  PERFORM lock_log();
  IF lower(of_epoch) IN (SELECT unnest(ARRAY[left(epoch::text, 8), epoch::text]) FROM ledger) THEN
    SELECT min(published.position) INTO fork
      FROM unnest(positions, ids) AS published (position, id)
           LEFT JOIN events USING (position)
     WHERE events.event_id IS DISTINCT FROM published.id;
    IF fork IS NOT NULL THEN
      SELECT coalesce(max(position), 0) INTO kept FROM unnest(positions) AS position WHERE position < fork;
      PERFORM add_epoch(unused_epoch(), format('restored: the event at position %s is another one, or gone', fork),
                        first => kept + 1);
    END IF;
  END IF;
  RETURN shared_position(of_epoch, (SELECT max(position) FROM unnest(positions) AS position));
END
$$;

SELECT hand_over();
