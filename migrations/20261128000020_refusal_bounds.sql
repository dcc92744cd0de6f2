-- Refusals can be caused by anybody who reaches the service, without a token. So what is kept of them has a bound a day and an end: by address, of
-- all strangers, and by token. It holds for every way in, for it stands at the table; what is left out is counted.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- How much is kept, and for how long. One row; the ledger's owner may change it.
CREATE TABLE refusal_limits (
  days_kept         integer NOT NULL DEFAULT 90,
  rows_of_address   integer NOT NULL DEFAULT 1000,    -- a day, of one IPv4 address or one IPv6 /64, without a token that works
  rows_of_strangers integer NOT NULL DEFAULT 20000,   -- a day, of all of those together
  rows_of_token     integer NOT NULL DEFAULT 20000,   -- a day, of one token

  CONSTRAINT refusal_limits_days      CHECK (days_kept BETWEEN 1 AND 36500),
  CONSTRAINT refusal_limits_address   CHECK (rows_of_address >= 0),
  CONSTRAINT refusal_limits_strangers CHECK (rows_of_strangers >= 0),
  CONSTRAINT refusal_limits_token     CHECK (rows_of_token >= 0)
);
CREATE UNIQUE INDEX refusal_limits_one_row ON refusal_limits ((true));
INSERT INTO refusal_limits DEFAULT VALUES;

-- How many rows each has had, by day (UTC), and how often something was refused that has none. The row of all strangers has the source ''.
CREATE TABLE refusal_days (
  day      date   NOT NULL,
  source   text   NOT NULL,   -- '', 'address 192.0.2.1', 'address 2001:db8::/64', 'token 3f2a9c41d07e'
  rows     bigint NOT NULL DEFAULT 0,
  left_out bigint NOT NULL DEFAULT 0,

  CONSTRAINT refusal_days_pkey      PRIMARY KEY (day, source),
  CONSTRAINT refusal_days_countable CHECK (rows BETWEEN 0 AND 4611686018427387903 AND left_out BETWEEN 0 AND 4611686018427387903)
);

-- An IPv6 /64 is what one customer has. What is no address is one source.
CREATE FUNCTION refusal_address(peer text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
DECLARE
  address inet;
BEGIN
  -- An IPv4 address behind ::ffff: is one of its own; which interface a link's own address is on does not matter.
  address := regexp_replace(split_part(peer, '%', 1), '^::ffff:(\d+\.\d+\.\d+\.\d+)$', '\1', 'i');
  RETURN 'address ' || coalesce(
    CASE family(address) WHEN 4 THEN host(address) ELSE network(set_masklen(address, 64))::text END, 'unknown');
EXCEPTION
  WHEN invalid_text_representation THEN
    RETURN 'address unknown';
END
$$;

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
  -- The row of all comes first always: so writers wait for each other, and never in a circle.
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
  -- Whoever has no row of his own gets none by being left out, or a flood from many addresses would fill this table instead.
  UPDATE refusal_days SET left_out = left_out + NEW.times WHERE day = today AND source = own;
  IF NOT is_known OR NOT FOUND THEN
    UPDATE refusal_days SET left_out = left_out + NEW.times WHERE day = today AND source = '';
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER refusals_bounded
  BEFORE INSERT ON refusals
  FOR EACH ROW EXECUTE FUNCTION bound_refusals();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_bounded;

-- What is older than it is kept for may go, and nothing else.
CREATE FUNCTION refuse_early_removal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF OLD.last_at >= clock_timestamp() - make_interval(days => (SELECT days_kept FROM refusal_limits)) THEN
    RAISE EXCEPTION '% of refusal % refused: it is a record, and kept for % days', TG_OP, OLD.number, (SELECT days_kept FROM refusal_limits)
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END
$$;

DROP TRIGGER refusals_only_grow ON refusals;
CREATE TRIGGER refusals_only_grow
  BEFORE UPDATE OR TRUNCATE ON refusals
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_only_grow;
CREATE TRIGGER refusals_kept
  BEFORE DELETE ON refusals
  FOR EACH ROW EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_kept;
-- Numbers grow with time, nearly; what is old is found from the beginning.
CREATE INDEX refusals_by_age ON refusals (last_at);

-- Removes refusals that are older than they are kept for, some thousands at a time, with the owner's rights. How old that is, its caller cannot say.
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

REVOKE ALL ON refusal_limits, refusal_days FROM PUBLIC;
REVOKE ALL ON FUNCTION refusal_address(text), bound_refusals(), refuse_early_removal(), forget_refusals() FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT SELECT ON refusal_limits, refusal_days TO %I', current_schema() || '_reader');
  EXECUTE format('GRANT EXECUTE ON FUNCTION forget_refusals() TO %I', current_schema() || '_appender');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION forget_refusals();
DROP TRIGGER refusals_kept ON refusals;
DROP TRIGGER refusals_bounded ON refusals;
DROP TRIGGER refusals_only_grow ON refusals;
CREATE TRIGGER refusals_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON refusals
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_only_grow;
DROP INDEX refusals_by_age;
DROP FUNCTION refuse_early_removal();
DROP FUNCTION bound_refusals();
DROP FUNCTION refusal_address(text);
DROP TABLE refusal_days;
DROP TABLE refusal_limits;
