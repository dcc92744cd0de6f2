-- Durable subscriptions: how far each has come, and who has it now. And the key to the live feed.
--
-- Only its holder, known by a secret, moves a subscription. Only the user that made it takes it
-- over. The functions run with the owner's rights, so those who may call them can do nothing else
-- to the table.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE subscriptions (
  name       text        NOT NULL,
  position   bigint      NOT NULL,  -- everything up to here is acknowledged
  epoch      uuid        NOT NULL,  -- of the ledger in which that is so
  holder     text        NOT NULL,  -- the hash of its secret: who reads the table cannot act as the holder
  expires_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  bound_to   text,                  -- who may take it: this user, and members of this role

  CONSTRAINT subscriptions_pkey                  PRIMARY KEY (name),
  CONSTRAINT subscriptions_name_length           CHECK (length(name) BETWEEN 1 AND 200),
  CONSTRAINT subscriptions_position_not_negative CHECK (position >= 0),
  CONSTRAINT subscriptions_holder_form           CHECK (holder ~ '^[0-9a-f]{64}$')
);

CREATE FUNCTION holder_hash(secret text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path FROM CURRENT
RETURN encode(sha256(convert_to(secret, 'UTF8')), 'hex');

-- Whether the session's user is this role, or a member of it.
CREATE FUNCTION is_bound_to(role text) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT
RETURN role IS NULL OR EXISTS (SELECT FROM pg_roles WHERE rolname = role AND pg_has_role(session_user, oid, 'MEMBER'));

-- Takes a subscription that is new, free, has run out, or is the holder's own, for as long as a
-- lease at most. A new one begins behind a position, at the head where that is null, and is bound
-- to the session's user. Returns where it stands, or no row while another holds it.
CREATE FUNCTION take_subscription(
  subscription text, by_holder text, duration interval, starting_after bigint, OUT at_position bigint, OUT of_epoch uuid
) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  hash  CONSTANT text := holder_hash(by_holder);
  bound text;
BEGIN
  IF starting_after > head() THEN
    RAISE EXCEPTION 'the log ends at %, before position %', head(), starting_after
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF length(by_holder) < 32 THEN
    RAISE EXCEPTION 'a holder of % characters can be guessed: it takes 32 at least, at random', length(by_holder)
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT bound_to INTO bound FROM subscriptions WHERE name = subscription;
  IF NOT found AND (SELECT count(*) FROM subscriptions WHERE bound_to = session_user) >= 1000 THEN
    RAISE EXCEPTION '% has 1000 subscriptions, and can have no more', session_user
      USING ERRCODE = 'program_limit_exceeded',
        HINT = 'Forget those that are not used: SELECT forget_subscription(name).';
  END IF;
  IF NOT is_bound_to(bound) THEN
    RAISE EXCEPTION 'the subscription % belongs to %', subscription, bound
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('Take another name; or the ledger''s owner gives it: SELECT give_subscription(%L, %L).',
              subscription, session_user);
  END IF;
  RETURN QUERY
    INSERT INTO subscriptions AS held (name, position, epoch, holder, expires_at, bound_to)
    SELECT subscription, coalesce(starting_after, head()), ledger.epoch, hash,
        clock_timestamp() + least(duration, longest_lease()), session_user
      FROM ledger
    ON CONFLICT (name) DO UPDATE
       SET holder = excluded.holder, expires_at = excluded.expires_at,
           bound_to = coalesce(held.bound_to, excluded.bound_to)
     WHERE (NOT is_held(held.expires_at) OR held.holder = excluded.holder)
       AND is_bound_to(held.bound_to)
    RETURNING held.position, held.epoch;
END
$$;

-- Moves a subscription on, never back. Returns false where the holder does not hold it any more, or
-- the ledger has another epoch. So a holder that was replaced cannot move what its successor reads
-- from.
CREATE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint) RETURNS boolean
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

CREATE FUNCTION release_subscription(subscription text, by_holder text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE subscriptions SET expires_at = '-infinity' WHERE name = subscription AND holder = holder_hash(by_holder)
      AND is_bound_to(bound_to);
END;

-- Forgets a subscription. Returns false where there is none.
CREATE FUNCTION forget_subscription(subscription text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  bound text;
BEGIN
  DELETE FROM subscriptions WHERE name = subscription AND expires_at < clock_timestamp() AND is_bound_to(bound_to);
  IF found THEN RETURN true; END IF;
  SELECT bound_to INTO bound FROM subscriptions WHERE name = subscription;
  IF NOT found THEN RETURN false; END IF;
  IF NOT is_bound_to(bound) THEN
    RAISE EXCEPTION 'the subscription % belongs to %', subscription, bound USING ERRCODE = 'insufficient_privilege';
  END IF;
  RAISE EXCEPTION 'the subscription % is in use', subscription
    USING ERRCODE = 'object_in_use', HINT = 'It can be forgotten once its process has ended.';
END
$$;

-- Gives a subscription to another user, or to a role with several. For the ledger's owner, as when
-- a service gets a new user. Returns false where there is no such subscription.
CREATE FUNCTION give_subscription(subscription text, role text) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM role::regrole;  -- there is such a role, or this says that there is none
  UPDATE subscriptions SET bound_to = role WHERE name = subscription;
  RETURN found;
END
$$;

-- The secret from which relay and subscribers derive the key of the feed's messages, by the
-- ledger's name and epoch. Subscribers drop messages without it: who may publish on Redis cannot
-- say what happened.
CREATE TABLE feed_key (
  is_one  boolean     NOT NULL DEFAULT true,
  secret  bytea       NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT feed_key_pkey   PRIMARY KEY (is_one),
  CONSTRAINT feed_key_is_one CHECK (is_one),
  CONSTRAINT feed_key_length CHECK (length(secret) = 32)
);

-- Makes another secret, as after somebody has left who knew it. For the ledger's owner. Relay and
-- subscribers find it within seconds; until then events come from Postgres. A UUID has 122 random
-- bits, so three hold more than the hash keeps.
CREATE FUNCTION renew_feed_key() RETURNS void
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO feed_key (secret)
  VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
  ON CONFLICT (is_one) DO UPDATE SET secret = excluded.secret, made_at = excluded.made_at;
END;

SELECT renew_feed_key();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM subscriptions) THEN
    RAISE EXCEPTION 'there are subscriptions: they would begin anew'
      USING HINT = 'Forget them first: SELECT forget_subscription(name) FROM subscriptions';
  END IF;
END
$$;
DROP FUNCTION renew_feed_key();
DROP TABLE feed_key;
DROP FUNCTION give_subscription(text, text), forget_subscription(text), release_subscription(text, text),
  acknowledge(text, text, bigint), take_subscription(text, text, interval, bigint), is_bound_to(text),
    holder_hash(text);
DROP TABLE subscriptions;
