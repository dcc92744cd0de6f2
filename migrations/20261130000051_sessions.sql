-- Sessions of browsers, and the codes by which a browser signs in. A session is opened by a token,
-- has its scopes, and ends with it.
--
-- Who keeps the secret of a session or a code passes the secret's SHA-256, its key, and the ledger
-- stores the SHA-256 of that. So no secret reaches the server or its log, and who reads these
-- tables, or a backup of them, learns nothing that the functions take.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- How long a session lasts. In hours: days would depend on the time zone.
CREATE FUNCTION longest_session() RETURNS interval
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT
RETURN interval '720 hours';

-- How long a code can be used. It stands in addresses, which terminals and browsers remember.
CREATE FUNCTION longest_sign_in_code() RETURNS interval
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT
RETURN interval '15 minutes';

-- How many sessions a token has at once, and how many codes. Those made first make room.
CREATE FUNCTION most_sessions() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT
RETURN 100;

CREATE TABLE sessions (
  hash       bytea       NOT NULL,  -- SHA-256 of the session's key
  token      text        NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,

  CONSTRAINT sessions_pkey        PRIMARY KEY (hash),
  CONSTRAINT sessions_token_fkey  FOREIGN KEY (token) REFERENCES tokens (id) ON DELETE CASCADE,
  CONSTRAINT sessions_hash_length CHECK (length(hash) = 32),
  CONSTRAINT sessions_life        CHECK (expires_at > created_at AND expires_at <= created_at + longest_session())
);
CREATE INDEX sessions_by_token ON sessions (token, created_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- A code is removed when it is used.
CREATE TABLE sign_in_codes (
  hash       bytea       NOT NULL,  -- SHA-256 of the code's key
  token      text        NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,

  CONSTRAINT sign_in_codes_pkey        PRIMARY KEY (hash),
  CONSTRAINT sign_in_codes_token_fkey  FOREIGN KEY (token) REFERENCES tokens (id) ON DELETE CASCADE,
  CONSTRAINT sign_in_codes_hash_length CHECK (length(hash) = 32),
  CONSTRAINT sign_in_codes_life
    CHECK (expires_at > created_at AND expires_at <= created_at + longest_sign_in_code())
);
CREATE INDEX sign_in_codes_by_token ON sign_in_codes (token, created_at);
CREATE INDEX sign_in_codes_by_end ON sign_in_codes (expires_at);

-- Before a session or a code is added: only a valid token that may read has any; both times are the
-- database's, and the end is as far away as it may be; what has expired goes, and so do the oldest
-- of a token that has too many.
--
-- Locks: the row of the token comes first, here, when a code is used and when a token is revoked.
-- So these wait for each other in one order. Expired rows of other tokens are not waited for.
CREATE FUNCTION admit_session() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM FROM tokens WHERE id = new.token AND revoked_at IS NULL AND 'read' = ANY (scopes) FOR NO KEY UPDATE;
  IF NOT found THEN
    RAISE EXCEPTION 'there is no valid token % with the scope read', new.token
      USING ERRCODE = 'invalid_parameter_value', HINT = 'jobledger token list shows the tokens and their scopes.';
  END IF;
  new.created_at := clock_timestamp();
  new.expires_at := new.created_at
    + CASE tg_table_name WHEN 'sessions' THEN longest_session() ELSE longest_sign_in_code() END;
  EXECUTE format(
    'DELETE FROM %1$I WHERE hash IN (
       SELECT hash FROM %1$I WHERE expires_at <= $1 ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED)',
    tg_table_name) USING new.created_at;
  EXECUTE format(
    'DELETE FROM %1$I WHERE hash IN (
       SELECT hash FROM %1$I WHERE token = $1 ORDER BY created_at DESC, hash OFFSET $2)',
    tg_table_name) USING new.token, most_sessions() - 1;
  RETURN new;
END
$$;

CREATE TRIGGER sessions_admitted BEFORE INSERT ON sessions
  FOR EACH ROW EXECUTE FUNCTION admit_session();
CREATE TRIGGER sign_in_codes_admitted BEFORE INSERT ON sign_in_codes
  FOR EACH ROW EXECUTE FUNCTION admit_session();

-- A session and a code belong to one token, and last as long as they did when they were made.
CREATE FUNCTION refuse_longer_session() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF new.hash <> old.hash OR new.token <> old.token OR new.expires_at > old.expires_at THEN
    RAISE EXCEPTION 'a session, or a code to sign in by, can only end sooner'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN new;
END
$$;

CREATE TRIGGER sessions_end_sooner BEFORE UPDATE ON sessions
  FOR EACH ROW EXECUTE FUNCTION refuse_longer_session();
CREATE TRIGGER sign_in_codes_end_sooner BEFORE UPDATE ON sign_in_codes
  FOR EACH ROW EXECUTE FUNCTION refuse_longer_session();

-- What a revoked token has opened is gone, also if somebody makes the token valid again.
CREATE FUNCTION end_sessions_of_token() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM sessions WHERE token = new.id;
  DELETE FROM sign_in_codes WHERE token = new.id;
  RETURN null;
END
$$;

CREATE TRIGGER tokens_end_sessions AFTER UPDATE OF revoked_at, scopes ON tokens
  FOR EACH ROW WHEN (new.revoked_at IS NOT NULL OR NOT 'read' = ANY (new.scopes))
  EXECUTE FUNCTION end_sessions_of_token();

-- No prepared transaction keeps a lock on rows that signing in waits for: see forbid_prepare().
CREATE TRIGGER sessions_not_prepared BEFORE INSERT OR UPDATE OR DELETE ON sessions
  FOR EACH STATEMENT WHEN (current_setting('max_prepared_transactions') <> '0')
  EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE sessions ENABLE ALWAYS TRIGGER sessions_not_prepared;
CREATE TRIGGER sign_in_codes_not_prepared BEFORE INSERT OR UPDATE OR DELETE ON sign_in_codes
  FOR EACH STATEMENT WHEN (current_setting('max_prepared_transactions') <> '0')
  EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE sign_in_codes ENABLE ALWAYS TRIGGER sign_in_codes_not_prepared;

-- The session with this key: its token, what the token is called and may be used for, and when the
-- session ends. No row where there is none, it has ended, or its token was revoked. A caller learns
-- nothing about sessions that it does not hold.
CREATE FUNCTION session_of(
  session_key bytea, OUT token_id text, OUT token_name text, OUT token_scopes text[], OUT ends_at timestamptz
) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT t.id, t.name, t.scopes, s.expires_at
    FROM sessions AS s JOIN tokens AS t ON t.id = s.token
   WHERE s.hash = sha256(session_key) AND s.expires_at > clock_timestamp() AND t.revoked_at IS NULL;
END;

-- Opens a session for who has shown a token. No row where the token does not work or may not read.
CREATE FUNCTION open_session(
  of_token text, token_hash bytea, session_key bytea,
  OUT token_id text, OUT token_name text, OUT token_scopes text[], OUT ends_at timestamptz
) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF length(session_key) IS DISTINCT FROM 32 THEN
    RAISE EXCEPTION 'the key of a session is a SHA-256, of 32 bytes' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- The lock keeps the token from being revoked between this look and the insertion.
  PERFORM FROM tokens AS t
    WHERE t.id = of_token AND t.hash = token_hash AND t.revoked_at IS NULL AND 'read' = ANY (t.scopes)
      FOR NO KEY UPDATE;
  IF NOT found THEN RETURN; END IF;
  INSERT INTO sessions (hash, token) VALUES (sha256(session_key), of_token);
  RETURN QUERY SELECT * FROM session_of(session_key);
END
$$;

-- Opens a session for who has a code, which is used up by that. Of several callers with one code
-- one gets a row. No row where the code was used, is too old, or was never made.
CREATE FUNCTION redeem_sign_in_code(
  code_key bytea, session_key bytea,
  OUT token_id text, OUT token_name text, OUT token_scopes text[], OUT ends_at timestamptz
) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  of_token text;
BEGIN
  IF length(session_key) IS DISTINCT FROM 32 THEN
    RAISE EXCEPTION 'the key of a session is a SHA-256, of 32 bytes' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT c.token INTO of_token FROM sign_in_codes AS c WHERE c.hash = sha256(code_key);
  IF NOT found THEN RETURN; END IF;
  PERFORM FROM tokens AS t WHERE t.id = of_token FOR NO KEY UPDATE;
  -- Whoever removes the code has used it.
  DELETE FROM sign_in_codes AS c WHERE c.hash = sha256(code_key) AND c.expires_at > clock_timestamp();
  IF NOT found THEN RETURN; END IF;
  INSERT INTO sessions (hash, token) VALUES (sha256(session_key), of_token);
  RETURN QUERY SELECT * FROM session_of(session_key);
END
$$;

-- Ends a session. Returns false where there was none.
CREATE FUNCTION end_session(session_key bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM sessions WHERE hash = sha256(session_key);
  RETURN found;
END
$$;

DO $$
DECLARE
  home CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  REVOKE ALL ON sessions, sign_in_codes FROM PUBLIC;
  REVOKE ALL ON FUNCTION longest_session(), longest_sign_in_code(), most_sessions(), admit_session(),
    refuse_longer_session(), end_sessions_of_token(), session_of(bytea), open_session(text, bytea, bytea),
    redeem_sign_in_code(bytea, bytea), end_session(bytea) FROM PUBLIC;
  -- The HTTP service has both roles. What changes something is for the appender, because an auditor
  -- has the rights of a reader, and changes nothing.
  FOREACH statement IN ARRAY ARRAY[
    'GRANT EXECUTE ON FUNCTION session_of(bytea) TO :reader',
    'GRANT EXECUTE ON FUNCTION open_session(text, bytea, bytea), redeem_sign_in_code(bytea, bytea),
       end_session(bytea) TO :appender',
    'GRANT SELECT (token, created_at, expires_at) ON sessions, sign_in_codes TO :auditor']
  LOOP
    EXECUTE regexp_replace(statement, ':(\w+)', '"' || home || '_\1"', 'g');
  END LOOP;
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP TRIGGER tokens_end_sessions ON tokens;
DROP FUNCTION end_session(bytea), redeem_sign_in_code(bytea, bytea), open_session(text, bytea, bytea),
  session_of(bytea);
DROP TABLE sign_in_codes, sessions;
DROP FUNCTION end_sessions_of_token(), refuse_longer_session(), admit_session(), most_sessions(),
  longest_sign_in_code(), longest_session();
