-- Subscriptions that have a name: how far each has come, and who has it now.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE subscriptions (
  name       text        NOT NULL,
  position   bigint      NOT NULL,  -- everything up to here is acknowledged
  epoch      uuid        NOT NULL,  -- of the ledger in which that is so
  holder     text        NOT NULL,
  expires_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT subscriptions_pkey                  PRIMARY KEY (name),
  CONSTRAINT subscriptions_name_length           CHECK (length(name) BETWEEN 1 AND 200),
  CONSTRAINT subscriptions_position_not_negative CHECK (position >= 0)
);

-- These functions run with the owner's rights, so that who may use them can do nothing else to the table, and nothing to what the relay
-- and the projectors keep.

-- Takes a subscription that is new, free, run out, or ours, for so long. One that is new begins behind a position, null for the
-- head. Returns where it stands, or no row while another holds it.
CREATE FUNCTION take_subscription(
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

-- Moves a subscription on, never back. False where the holder does not hold it any more, or the ledger is another one: so whoever was
-- replaced cannot move what its successor reads from.
CREATE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint) RETURNS boolean
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

CREATE FUNCTION release_subscription(subscription text, by_holder text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE subscriptions SET expires_at = '-infinity' WHERE name = subscription AND holder = by_holder;
END;

-- Forgets a subscription. False where there is none.
CREATE FUNCTION forget_subscription(subscription text) RETURNS boolean
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

REVOKE ALL ON subscriptions FROM PUBLIC;
REVOKE ALL ON FUNCTION take_subscription(text, text, interval, bigint), acknowledge(text, text, bigint),
                       release_subscription(text, text), forget_subscription(text) FROM PUBLIC;

-- A subscriber reads the log, and keeps its own place in it.
DO $$
DECLARE
  subscriber text := current_schema() || '_subscriber';
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = subscriber) THEN
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', subscriber);
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another ledger of this name, in another database, was made at this moment
      WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role % is missing, and % may not create roles', subscriber, current_user
          USING HINT = format('Have an administrator run: CREATE ROLE %I NOLOGIN', subscriber);
    END;
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), subscriber);
  EXECUTE format('GRANT SELECT ON ledger, events, subscriptions TO %I', subscriber);
  EXECUTE format('GRANT SELECT ON subscriptions TO %I', current_schema() || '_reader');
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION head(), take_subscription(text, text, interval, bigint), acknowledge(text, text, bigint),
                               release_subscription(text, text), forget_subscription(text) TO %I', subscriber);
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM subscriptions) THEN
    RAISE EXCEPTION 'there are subscriptions: they would begin anew'
      USING HINT = 'Forget them first: SELECT forget_subscription(name) FROM subscriptions';
  END IF;
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), current_schema() || '_subscriber');
  EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM %I', current_schema(), current_schema() || '_subscriber');
  EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM %I', current_schema(), current_schema() || '_subscriber');
END
$$;
DROP FUNCTION forget_subscription(text);
DROP FUNCTION release_subscription(text, text);
DROP FUNCTION acknowledge(text, text, bigint);
DROP FUNCTION take_subscription(text, text, interval, bigint);
DROP TABLE subscriptions;
