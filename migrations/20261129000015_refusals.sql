-- What the service has refused: who tried what, from where, and why it was refused. It is not part
-- of the log, because nothing happened.
--
-- Anybody who reaches the service can cause refusals, without a token. So what is kept has a limit
-- a day, by address, of all strangers, and by token; and it ends after some days. A trigger keeps
-- the limits, whoever inserts. What is left out is counted.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Equal refusals within a second are one row, with how often.
CREATE TABLE refusals (
  number     bigint      GENERATED ALWAYS AS IDENTITY,
  first_at   timestamptz NOT NULL,
  last_at    timestamptz NOT NULL,
  times      bigint      NOT NULL,

  token      text,                  -- the id of the token, or the one that was claimed; the secret is not kept
  peer       text,                  -- the address that the request came from
  method     text        NOT NULL,
  path       text        NOT NULL,  -- as the OpenAPI document has it
  actor      text,                  -- as the refused event names it
  job        text,
  type       text,
  event_id   uuid,
  code       text        NOT NULL,
  detail     text        NOT NULL,
  noted_by   text        DEFAULT session_user,

  CONSTRAINT refusals_pkey             PRIMARY KEY (number),
  CONSTRAINT refusals_times_positive   CHECK (times > 0),
  CONSTRAINT refusals_times_bounded    CHECK (times <= 1000000000),
  CONSTRAINT refusals_order            CHECK (first_at <= last_at),
  CONSTRAINT refusals_first_at_bounded CHECK (first_at >= last_at - interval '1 hour'),
  CONSTRAINT refusals_noted_by         CHECK (noted_by IS NOT NULL),
  CONSTRAINT refusals_code_form        CHECK (code ~ '^[a-z][a-z0-9_]{0,63}$'),
  CONSTRAINT refusals_lengths          CHECK (
    length(token) <= 100 AND length(peer) <= 100 AND length(method) <= 100 AND length(path) <= 300
      AND length(actor) <= 300
    AND length(job) <= 300 AND length(type) <= 300 AND length(detail) <= 300)
);
CREATE INDEX refusals_by_actor ON refusals (actor, number) WHERE actor IS NOT NULL;
CREATE INDEX refusals_by_job   ON refusals (job, number)   WHERE job IS NOT NULL;
CREATE INDEX refusals_by_token ON refusals (token, number) WHERE token IS NOT NULL;
CREATE INDEX refusals_by_code  ON refusals (code, number);
-- forget_refusals() finds old rows by it.
CREATE INDEX refusals_by_age   ON refusals (last_at);

-- How much is kept, and for how long. One row, which the ledger's owner may change.
CREATE TABLE refusal_limits (
  days_kept         integer NOT NULL DEFAULT 90,
  -- Without a token that works: a day, of one IPv4 address or one IPv6 /64, and of all of them
  -- together.
  rows_of_address   integer NOT NULL DEFAULT 1000,
  rows_of_strangers integer NOT NULL DEFAULT 20000,
  rows_of_token     integer NOT NULL DEFAULT 20000,   -- a day, of one token

  CONSTRAINT refusal_limits_days      CHECK (days_kept BETWEEN 1 AND 36500),
  CONSTRAINT refusal_limits_address   CHECK (rows_of_address >= 0),
  CONSTRAINT refusal_limits_strangers CHECK (rows_of_strangers >= 0),
  CONSTRAINT refusal_limits_token     CHECK (rows_of_token >= 0)
);
CREATE UNIQUE INDEX refusal_limits_one_row ON refusal_limits ((true));
INSERT INTO refusal_limits DEFAULT VALUES;

-- How many rows each source has had, by day (UTC), and how many refusals of it have no row. The
-- source '' is all strangers together.
CREATE TABLE refusal_days (
  day      date   NOT NULL,
  source   text   NOT NULL,   -- '', 'address 192.0.2.1', 'address 2001:db8::/64', 'token 3f2a9c41d07e'
  rows     bigint NOT NULL DEFAULT 0,
  left_out bigint NOT NULL DEFAULT 0,

  CONSTRAINT refusal_days_pkey         PRIMARY KEY (day, source),
  CONSTRAINT refusal_days_not_negative CHECK (rows >= 0 AND left_out >= 0)
);

-- The source of a refusal without a valid token. An IPv6 /64 is usually one customer's.
-- All texts that are not addresses are one source.
CREATE FUNCTION refusal_address(peer text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
DECLARE
  address inet;
BEGIN
  -- An IPv4 address may be written as IPv6 (::ffff:192.0.2.1), and a link-local address may end
  -- with the name of an interface.
  address := regexp_replace(split_part(peer, '%', 1), '^::ffff:(\d+\.\d+\.\d+\.\d+)$', '\1', 'i');
  RETURN 'address ' || coalesce(
    CASE family(address) WHEN 4 THEN host(address) ELSE network(set_masklen(address, 64))::text END, 'unknown');
EXCEPTION
  WHEN invalid_text_representation THEN
    RETURN 'address unknown';
END
$$;

-- Keeps the limits.
CREATE FUNCTION bound_refusals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  today      CONSTANT date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
  is_known   CONSTANT boolean := NEW.code <> 'unauthorized' AND EXISTS (SELECT FROM tokens WHERE id = NEW.token);
  limits     refusal_limits;
  own        text;
  own_most   bigint;
  has_room   boolean;
BEGIN
  SELECT * INTO STRICT limits FROM refusal_limits;
  own := CASE WHEN is_known THEN 'token ' || NEW.token ELSE refusal_address(NEW.peer) END;
  own_most := CASE WHEN is_known THEN limits.rows_of_token ELSE limits.rows_of_address END;
  -- Every writer locks the row of all strangers first, so there are no deadlocks.
  INSERT INTO refusal_days AS d (day, source) VALUES (today, '') ON CONFLICT (day, source) DO UPDATE SET rows = d.rows;
  SELECT (is_known OR strangers.rows < limits.rows_of_strangers) AND coalesce(mine.rows, 0) < own_most
    INTO has_room
    FROM refusal_days AS strangers
    LEFT JOIN refusal_days AS mine ON mine.day = today AND mine.source = own
   WHERE strangers.day = today AND strangers.source = '';
  IF has_room THEN
    INSERT INTO refusal_days AS d (day, source, rows) VALUES (today, own, 1)
      ON CONFLICT (day, source) DO UPDATE SET rows = d.rows + 1;
    UPDATE refusal_days SET rows = rows + 1 WHERE day = today AND source = '' AND NOT is_known;
    RETURN NEW;
  END IF;
  -- A source without a row gets none for a refusal that is left out. Otherwise a flood from many
  -- addresses would fill this table.
  UPDATE refusal_days SET left_out = left_out + greatest(NEW.times, 0) WHERE day = today AND source = own;
  IF NOT is_known OR NOT FOUND THEN
    UPDATE refusal_days SET left_out = left_out + greatest(NEW.times, 0) WHERE day = today AND source = '';
  END IF;
  RETURN NULL;
END
$$;

-- Lets nothing be removed before its time.
CREATE FUNCTION refuse_early_removal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF OLD.last_at >= clock_timestamp() - make_interval(days => (SELECT days_kept FROM refusal_limits)) THEN
    RAISE EXCEPTION '% of refusal % refused: it is a record, and kept for % days', TG_OP, OLD.number,
      (SELECT days_kept FROM refusal_limits)
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END
$$;

CREATE TRIGGER refusals_bounded
  BEFORE INSERT ON refusals
  FOR EACH ROW EXECUTE FUNCTION bound_refusals();
CREATE TRIGGER refusals_only_grow
  BEFORE UPDATE OR TRUNCATE ON refusals
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
CREATE TRIGGER refusals_kept
  BEFORE DELETE ON refusals
  FOR EACH ROW EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE refusals
  ENABLE ALWAYS TRIGGER refusals_bounded, ENABLE ALWAYS TRIGGER refusals_only_grow, ENABLE ALWAYS TRIGGER refusals_kept;

-- Records refusals: parallel arrays, with an element for each refusal. Times are milliseconds ago,
-- so that the clock is the database's. With the owner's rights, so that who may append need not
-- read refusals.
CREATE FUNCTION note_refusals(
  firsts_ago bigint[], lasts_ago bigint[], counts bigint[], tokens text[], peers text[], methods text[],
  paths text[], actors text[], jobs text[], types text[], event_ids uuid[], codes text[], details text[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '10s' AS $$
DECLARE
  now   CONSTANT timestamptz := clock_timestamp();
  -- In milliseconds.
  hour  CONSTANT bigint := 3600000;
  -- The length of the longest array: unnest pads the others with nulls.
  count CONSTANT integer := (
    SELECT max(coalesce(cardinality(a), 0))
      FROM (VALUES (firsts_ago::text[]), (lasts_ago::text[]), (counts::text[]), (tokens), (peers), (methods), (paths),
                   (actors), (jobs), (types), (event_ids::text[]), (codes), (details)) AS given (a));
BEGIN
  IF count > 2000 THEN
    RAISE EXCEPTION '% refusals at once: at most 2000 are noted by one call', count
      USING ERRCODE = 'program_limit_exceeded', HINT = 'Note them by several calls.';
  END IF;
  -- The rows of the day stay locked until the transaction ends. A session that stays idle for 5 s
  -- is ended.
  IF current_setting('idle_in_transaction_session_timeout')::interval NOT BETWEEN '1 ms' AND '5 s' THEN
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
  END IF;
  INSERT INTO refusals (first_at, last_at, times, token, peer, method, path, actor, job, type, event_id, code, detail)
  SELECT now - greatest(last, least(greatest(r.first_ago, 0), hour)) * interval '1 ms', now - last * interval '1 ms',
         least(r.times, 1000000000), left(r.token, 100), left(r.peer, 100), left(r.method, 100), left(r.path, 300),
         left(r.actor, 300), left(r.job, 300), left(r.type, 300), r.event_id, r.code, left(r.detail, 300)
    FROM unnest(firsts_ago, lasts_ago, counts, tokens, peers, methods, paths, actors, jobs, types, event_ids,
                codes, details)
           WITH ORDINALITY AS r (first_ago, last_ago, times, token, peer, method, path, actor, job, type, event_id,
                                 code, detail, place)
    CROSS JOIN LATERAL (SELECT least(greatest(r.last_ago, 0), hour) AS last) AS bounded
   ORDER BY r.place;
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the refusals of today locked for 10 s'
    USING ERRCODE = 'lock_not_available',
      HINT = 'These refusals were not written. Find it: SELECT * FROM pg_locks WHERE relation = '
             '''refusal_days''::regclass.';
END
$$;

-- Removes refusals that are older than they are kept for, 10,000 at a time, and returns how many.
-- Callers cannot say how old that is.
CREATE FUNCTION forget_refusals() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  DELETE FROM refusal_days
   WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - (SELECT days_kept FROM refusal_limits);
  WITH gone AS (
    DELETE FROM refusals
     WHERE number IN (
             SELECT number FROM refusals
              WHERE last_at < clock_timestamp() - make_interval(days => (SELECT days_kept FROM refusal_limits))
              ORDER BY last_at LIMIT 10000)
    RETURNING number)
  SELECT count(*) FROM gone;
END;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION forget_refusals();
DROP FUNCTION note_refusals(bigint[], bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[],
  uuid[], text[], text[]);
DROP TABLE refusal_days, refusal_limits, refusals;
DROP FUNCTION refuse_early_removal(), bound_refusals(), refusal_address(text);
