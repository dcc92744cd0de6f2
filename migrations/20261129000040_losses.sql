-- What is known of losses. After a failover the ledger itself cannot tell which events it had: they
-- are gone with their positions. Those who read them can: the relay, feeds, durable subscriptions
-- and the sealer. What they tell is kept here, because they themselves go on and forget it.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- A row is a reader that had come further than what the log shares with its history.
CREATE TABLE losses (
  reader   text        NOT NULL,  -- who had the events: relay, feed, sealer, or a subscription
  epoch    uuid        NOT NULL,  -- in which the reader came to `position`
  position bigint      NOT NULL,  -- the last position that it had
  shared   bigint      NOT NULL,  -- the last of these positions that the log shares
  noted_by text        NOT NULL DEFAULT session_user,
  noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT losses_pkey                PRIMARY KEY (reader, epoch, noted_by),
  CONSTRAINT losses_reader_length       CHECK (length(reader) BETWEEN 1 AND 220),
  CONSTRAINT losses_shared_not_negative CHECK (shared >= 0),
  CONSTRAINT losses_something           CHECK (shared < position),
  CONSTRAINT losses_position_countable
    CHECK (position BETWEEN -4611686018427387903 AND 4611686018427387903),
  CONSTRAINT losses_shared_countable
    CHECK (shared BETWEEN -4611686018427387903 AND 4611686018427387903)
);
CREATE TRIGGER losses_not_prepared
  BEFORE INSERT OR UPDATE OR DELETE ON losses FOR EACH STATEMENT
  WHEN (current_setting('max_prepared_transactions') <> '0') EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE losses ENABLE ALWAYS TRIGGER losses_not_prepared;

-- Notes that a reader had come to a position in an epoch (its first eight digits, or all), where
-- the log does not share all of it. Returns the last position that it shares. Of an epoch that the
-- ledger does not know it notes nothing: nobody can say what of it is gone. A user has room for a
-- thousand notes, so that none can fill the disk.
CREATE FUNCTION note_loss(of_reader text, of_epoch text, at_position bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  still CONSTANT bigint := shared_position(of_epoch, at_position);
  known uuid;
BEGIN
  IF still < at_position THEN
    SELECT e.epoch INTO known FROM epochs AS e
     WHERE lower(of_epoch) IN (left(e.epoch::text, 8), e.epoch::text) ORDER BY e.number DESC LIMIT 1;
    IF found AND (SELECT count(*) FROM losses WHERE noted_by = session_user) < 1000 THEN
      INSERT INTO losses AS noted (reader, epoch, position, shared, noted_by)
      VALUES (left(of_reader, 220), known, at_position, still, session_user)
      ON CONFLICT ON CONSTRAINT losses_pkey DO UPDATE
         SET position = greatest(noted.position, excluded.position), shared = least(noted.shared, excluded.shared),
             noted_at = clock_timestamp()
       WHERE excluded.position > noted.position OR excluded.shared < noted.shared;
    END IF;
  END IF;
  RETURN still;
END
$$;

-- As before, and what the subscription had and is gone is noted: the subscription forgets it here.
CREATE OR REPLACE FUNCTION rejoin_subscription(
  subscription text, by_holder text, OUT at_position bigint, OUT of_epoch uuid
) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM note_loss('subscription ' || s.name, s.epoch::text, s.position)
     FROM subscriptions AS s
    WHERE s.name = subscription AND s.holder = holder_hash(by_holder) AND is_bound_to(s.bound_to);
  RETURN QUERY
    UPDATE subscriptions AS s
       SET position = shared_position(s.epoch::text, s.position), epoch = ledger.epoch, updated_at = clock_timestamp()
      FROM ledger
     WHERE s.name = subscription AND s.holder = holder_hash(by_holder) AND is_bound_to(s.bound_to)
    RETURNING s.position, s.epoch;
END
$$;

-- Where a key has signed that its tree ends, because the log lost events that the key had sealed,
-- and which key goes on from what is left.
CREATE TABLE seal_forks (
  signer    text        NOT NULL,  -- the key that ends: its name and id
  size      bigint      NOT NULL,  -- it had sealed the events up to this position
  epoch     uuid        NOT NULL,  -- in which it had
  shared    bigint      NOT NULL,  -- the events up to here are in both trees
  successor text        NOT NULL,  -- the key that goes on
  note      text        NOT NULL,  -- the statement, signed by both
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT seal_forks_pkey                PRIMARY KEY (signer, signed_at),
  CONSTRAINT seal_forks_shared_not_negative CHECK (shared >= 0),
  CONSTRAINT seal_forks_something           CHECK (shared < size),
  CONSTRAINT seal_forks_size_countable
    CHECK (size BETWEEN -4611686018427387903 AND 4611686018427387903),
  CONSTRAINT seal_forks_shared_countable
    CHECK (shared BETWEEN -4611686018427387903 AND 4611686018427387903)
);

CREATE TRIGGER seal_forks_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON seal_forks
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
CREATE TRIGGER seal_forks_not_prepared
  BEFORE INSERT OR UPDATE OR DELETE ON seal_forks FOR EACH STATEMENT
  WHEN (current_setting('max_prepared_transactions') <> '0') EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE seal_forks ENABLE ALWAYS TRIGGER seal_forks_only_grow, ENABLE ALWAYS TRIGGER seal_forks_not_prepared;

-- Keeps a fork, unless it is there already. Returns false where the ledger has another epoch by
-- now.
CREATE FUNCTION add_seal_fork(
  in_epoch uuid, signed_by text, ended_size bigint, ended_epoch uuid, shared_size bigint, succeeded_by text,
  signed_note text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM ledger WHERE epoch = in_epoch) THEN
    RETURN false;
  END IF;
  INSERT INTO seal_forks (signer, size, epoch, shared, successor, note)
  SELECT signed_by, ended_size, ended_epoch, shared_size, succeeded_by, signed_note
   WHERE NOT EXISTS (SELECT FROM seal_forks WHERE signer = signed_by AND note = signed_note);
  RETURN true;
END
$$;

-- All losses that are known: those that were noted, those that a key has signed, and those of
-- subscriptions that have not dealt with them yet.
CREATE VIEW known_losses AS
  SELECT reader, epoch, position, shared, noted_at FROM losses
  UNION ALL
  SELECT 'sealer', epoch, size, shared, signed_at FROM seal_forks
  UNION ALL
  SELECT 'subscription ' || name, epoch, position, shared_position(epoch::text, position), updated_at
    FROM subscriptions
   WHERE shared_position(epoch::text, position) < position AND epoch IN (SELECT epoch FROM epochs);

DO $$
DECLARE
  home CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  REVOKE ALL ON losses, seal_forks, known_losses FROM PUBLIC;
  REVOKE ALL ON FUNCTION note_loss(text, text, bigint),
    add_seal_fork(uuid, text, bigint, uuid, bigint, text, text) FROM PUBLIC;
  FOREACH statement IN ARRAY ARRAY[
    'GRANT SELECT ON losses, seal_forks, known_losses TO :reader',
    'GRANT SELECT ON seal_forks TO :sealer',
    'GRANT EXECUTE ON FUNCTION note_loss(text, text, bigint) TO :subscriber, :relay, :sealer',
    'GRANT EXECUTE ON FUNCTION add_seal_fork(uuid, text, bigint, uuid, bigint, text, text) TO :sealer']
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
  IF EXISTS (SELECT FROM seal_forks) OR EXISTS (SELECT FROM losses) THEN
    RAISE EXCEPTION 'losses are noted: dropping their record would lose what is known of them'
      USING HINT = 'Drop the tables losses and seal_forks by hand if that is what you want.';
  END IF;
END
$$;
DROP VIEW known_losses;
DROP FUNCTION add_seal_fork(uuid, text, bigint, uuid, bigint, text, text);
DROP TABLE seal_forks;

CREATE OR REPLACE FUNCTION rejoin_subscription(
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

DROP FUNCTION note_loss(text, text, bigint);
DROP TABLE losses;
