-- A key for what the relay publishes: subscribers drop what was not published under it. Redis carries messages; who may publish there is not who may
-- say what happened.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- One row. Relay and subscribers derive from the secret what they use, by the ledger's name and epoch: with another epoch it is another key.
CREATE TABLE feed_key (
  is_one  boolean     NOT NULL DEFAULT true,
  secret  bytea       NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT feed_key_pkey   PRIMARY KEY (is_one),
  CONSTRAINT feed_key_is_one CHECK (is_one),
  CONSTRAINT feed_key_length CHECK (length(secret) = 32)
);

-- Makes another secret, as after somebody has left who knew it. Relay and subscribers find it within seconds; until then events come from Postgres.
-- For the owner. A UUID has 122 bits from the server's source for keys, and three make more than the hash keeps.
CREATE FUNCTION renew_feed_key() RETURNS void
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO feed_key (secret)
  VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
  ON CONFLICT (is_one) DO UPDATE SET secret = excluded.secret, made_at = excluded.made_at;
END;
SELECT renew_feed_key();

REVOKE ALL ON feed_key FROM PUBLIC;
REVOKE ALL ON FUNCTION renew_feed_key() FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT SELECT ON feed_key TO %I, %I, %I', current_schema() || '_relay', current_schema() || '_reader',
                 current_schema() || '_subscriber');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION renew_feed_key();
DROP TABLE feed_key;
