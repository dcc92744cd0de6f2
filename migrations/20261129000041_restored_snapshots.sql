-- A snapshot that was restored keeps its timeline and its system identifier, so the first append
-- on it begins no epoch. The events themselves tell: the log has others in the places of those that
-- a relay has published, or none.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Begins an epoch to which the events from `first_position` on belong already: of a ledger that was
-- restored, and to which others have appended before begin_epoch() was run.
CREATE FUNCTION begin_epoch(first_position bigint) RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  begun uuid;
BEGIN
  PERFORM note_timeline();
  PERFORM lock_log();
  IF first_position IS NULL OR first_position NOT BETWEEN 1 AND head() + 1 THEN
    RAISE EXCEPTION 'an epoch begins at a position from 1 to %, the one behind the last', head() + 1
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the first position whose event readers may not have.';
  END IF;
  begun := unused_epoch();
  PERFORM add_epoch(begun, 'begun by begin_epoch()', first => first_position);
  RETURN begun;
END
$$;

-- A relay has published these events, in the epoch `of_epoch` (its first eight digits, or all).
-- Where the log has another event in the place of one of them, or none, an epoch begins behind the
-- last one before it that is still there. Returns how much of what was published the log shares.
CREATE FUNCTION notice_restore(of_epoch text, positions bigint[], ids uuid[]) RETURNS bigint
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

DO $$
BEGIN
  REVOKE ALL ON FUNCTION begin_epoch(bigint), notice_restore(text, bigint[], uuid[]) FROM PUBLIC;
  EXECUTE format('GRANT EXECUTE ON FUNCTION notice_restore(text, bigint[], uuid[]) TO %I',
                 current_schema() || '_relay');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION notice_restore(text, bigint[], uuid[]), begin_epoch(bigint);
