-- Who may use the HTTP service, and for what.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- A token is shown once, when it is made. Only the hash of its secret is kept: 256 random bits need
-- no salt and no slow hash.
CREATE TABLE tokens (
  id         text        NOT NULL,
  hash       bytea       NOT NULL,  -- SHA-256
  name       text        NOT NULL DEFAULT '',
  scopes     text[]      NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  revoked_at timestamptz,

  CONSTRAINT tokens_pkey        PRIMARY KEY (id),
  CONSTRAINT tokens_hash_key    UNIQUE (hash),
  CONSTRAINT tokens_id_form     CHECK (id ~ '^[0-9a-f]{12}$'),
  CONSTRAINT tokens_hash_length CHECK (length(hash) = 32),
  CONSTRAINT tokens_name_length CHECK (length(name) <= 200),
  CONSTRAINT tokens_scopes
    CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['append', 'read', 'admin']
      AND array_position(scopes, null) IS NULL)
);

-- What a token may be used for; null where there is none with this hash, or it was revoked. A
-- server needs no more than this, and a caller learns nothing about tokens that it does not hold.
CREATE FUNCTION scopes_of_token(token_id text, token_hash bytea) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT scopes FROM tokens WHERE id = token_id AND hash = token_hash AND revoked_at IS NULL;
END;

-- The name of a token, for readers of refusals. Null where the token has none, or does not exist.
CREATE FUNCTION token_name(token_id text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT nullif(name, '') FROM tokens WHERE id = token_id;
END;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION token_name(text), scopes_of_token(text, bytea);
DROP TABLE tokens;
