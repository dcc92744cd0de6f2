-- A durable subscription is moved by nobody but its holder, who is known by a secret; and taken over by nobody but the user who has made it.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The holder's secret is not kept, so whoever reads the table cannot act for them. Who holds one now comes back with a secret that is not
-- known: it waits until its own lease of seconds has run out.
ALTER TABLE subscriptions
  ADD COLUMN bound_to text,  -- who may take it: this user, and members of this role; null where nobody has taken it since there is this column
  ADD CONSTRAINT subscriptions_holder_form CHECK (holder ~ '^[0-9a-f]{64}$') NOT VALID;
UPDATE subscriptions SET holder = encode(sha256(convert_to(holder, 'UTF8')), 'hex');
ALTER TABLE subscriptions VALIDATE CONSTRAINT subscriptions_holder_form;

-- How a holder's secret is kept.
CREATE FUNCTION holder_hash(secret text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path FROM CURRENT
RETURN encode(sha256(convert_to(secret, 'UTF8')), 'hex');

-- Whether the session's user is this role, or a member of it.
CREATE FUNCTION is_bound_to(role text) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT
RETURN role IS NULL OR EXISTS (SELECT FROM pg_roles WHERE rolname = role AND pg_has_role(session_user, oid, 'MEMBER'));

-- Takes a subscription that is new, free, run out, or ours, for so long, a minute at most. One that is new begins behind a position, null for the
-- head, and is bound to the session's user. Returns where it stands, or no row while another holds it.
CREATE OR REPLACE FUNCTION take_subscription(
  subscription text, by_holder text, duration interval, starting_after bigint, OUT at_position bigint, OUT of_epoch uuid
) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  hash  CONSTANT text := holder_hash(by_holder);
  bound text;
BEGIN
  IF starting_after > head() THEN
    RAISE EXCEPTION 'the log ends at %, before position %', head(), starting_after USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF length(by_holder) < 32 THEN
    RAISE EXCEPTION 'a holder of % characters can be guessed: it takes 32 at least, at random', length(by_holder)
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT bound_to INTO bound FROM subscriptions WHERE name = subscription;
  IF NOT found AND (SELECT count(*) FROM subscriptions WHERE bound_to = session_user) >= 1000 THEN
    RAISE EXCEPTION '% has 1000 subscriptions, and can have no more', session_user
      USING ERRCODE = 'program_limit_exceeded', HINT = 'Forget those that are not used: SELECT forget_subscription(name).';
  END IF;
  IF NOT is_bound_to(bound) THEN
    RAISE EXCEPTION 'the subscription % belongs to %', subscription, bound
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('Take another name; or the ledger''s owner gives it: SELECT give_subscription(%L, %L).', subscription, session_user);
  END IF;
  RETURN QUERY
    INSERT INTO subscriptions AS held (name, position, epoch, holder, expires_at, bound_to)
    SELECT subscription, coalesce(starting_after, head()), ledger.epoch, hash, clock_timestamp() + least(duration, '1 min'), session_user
      FROM ledger
    ON CONFLICT (name) DO UPDATE
       SET holder = excluded.holder, expires_at = excluded.expires_at, bound_to = coalesce(held.bound_to, excluded.bound_to)
     WHERE (held.expires_at < clock_timestamp() OR held.expires_at > clock_timestamp() + interval '1 min' OR held.holder = excluded.holder)
       AND is_bound_to(held.bound_to)
    RETURNING held.position, held.epoch;
END
$$;

-- Moves a subscription on, never back. False where the holder does not hold it any more, or the ledger is another one: so whoever was
-- replaced cannot move what its successor reads from.
CREATE OR REPLACE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF up_to > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', up_to, head() USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE subscriptions SET position = greatest(position, up_to), updated_at = clock_timestamp()
   WHERE name = subscription AND holder = holder_hash(by_holder) AND is_bound_to(bound_to) AND epoch = (SELECT epoch FROM ledger);
  RETURN found;
END
$$;

CREATE OR REPLACE FUNCTION release_subscription(subscription text, by_holder text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE subscriptions SET expires_at = '-infinity' WHERE name = subscription AND holder = holder_hash(by_holder) AND is_bound_to(bound_to);
END;

-- Forgets a subscription. False where there is none.
CREATE OR REPLACE FUNCTION forget_subscription(subscription text) RETURNS boolean
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

-- Gives a subscription to another user, or to a role with several, as where a service gets a new user. For the owner. False where there is none.
CREATE FUNCTION give_subscription(subscription text, role text) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM role::regrole;  -- there is such a role, or this says that there is none
  UPDATE subscriptions SET bound_to = role WHERE name = subscription;
  RETURN found;
END
$$;

REVOKE ALL ON FUNCTION holder_hash(text), is_bound_to(text), give_subscription(text, text) FROM PUBLIC;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- As it was. Who holds one now waits until it has run out.
CREATE OR REPLACE FUNCTION take_subscription(
  subscription text, by_holder text, duration interval, starting_after bigint, OUT at_position bigint, OUT of_epoch uuid
) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF starting_after > head() THEN
    RAISE EXCEPTION 'the log ends at %, before position %', head(), starting_after USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN QUERY
    INSERT INTO subscriptions AS held (name, position, epoch, holder, expires_at)
    SELECT subscription, coalesce(starting_after, head()), ledger.epoch, by_holder, clock_timestamp() + least(duration, '1 min')
      FROM ledger
    ON CONFLICT (name) DO UPDATE
       SET holder = excluded.holder, expires_at = excluded.expires_at
     WHERE held.expires_at < clock_timestamp() OR held.holder = excluded.holder
    RETURNING held.position, held.epoch;
END
$$;

CREATE OR REPLACE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF up_to > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', up_to, head() USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE subscriptions SET position = greatest(position, up_to), updated_at = clock_timestamp()
   WHERE name = subscription AND holder = by_holder AND epoch = (SELECT epoch FROM ledger);
  RETURN found;
END
$$;

CREATE OR REPLACE FUNCTION release_subscription(subscription text, by_holder text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE subscriptions SET expires_at = '-infinity' WHERE name = subscription AND holder = by_holder;
END;

CREATE OR REPLACE FUNCTION forget_subscription(subscription text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM subscriptions WHERE name = subscription AND expires_at < clock_timestamp();
  IF NOT found AND EXISTS (SELECT FROM subscriptions WHERE name = subscription) THEN
    RAISE EXCEPTION 'the subscription % is in use', subscription
      USING ERRCODE = 'object_in_use', HINT = 'It can be forgotten once its process has ended.';
  END IF;
  RETURN found;
END
$$;

DROP FUNCTION give_subscription(text, text);
DROP FUNCTION is_bound_to(text);
DROP FUNCTION holder_hash(text);
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_holder_form, DROP COLUMN bound_to;

SELECT hand_over();
