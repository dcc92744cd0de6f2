-- What the service has refused: who tried what, from where, and why it came to nothing. It is no part of the log, for nothing happened.

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

  CONSTRAINT refusals_pkey           PRIMARY KEY (number),
  CONSTRAINT refusals_times_positive CHECK (times > 0),
  CONSTRAINT refusals_order          CHECK (first_at <= last_at)
);
CREATE INDEX refusals_by_actor ON refusals (actor, number) WHERE actor IS NOT NULL;
CREATE INDEX refusals_by_job   ON refusals (job, number)   WHERE job IS NOT NULL;
CREATE INDEX refusals_by_token ON refusals (token, number) WHERE token IS NOT NULL;
CREATE INDEX refusals_by_code  ON refusals (code, number);

CREATE TRIGGER refusals_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON refusals
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_only_grow;

-- Notes down refusals: arrays, a place in each for one of them. With the owner's rights, so that who may append need not read them.
CREATE FUNCTION note_refusals(
  firsts timestamptz[], lasts timestamptz[], counts bigint[], tokens text[], peers text[], methods text[], paths text[], actors text[],
  jobs text[], types text[], event_ids uuid[], codes text[], details text[]
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO refusals (first_at, last_at, times, token, peer, method, path, actor, job, type, event_id, code, detail)
  SELECT r.first_at, r.last_at, r.times, r.token, r.peer, r.method, r.path, r.actor, r.job, r.type, r.event_id, r.code, r.detail
    FROM unnest(firsts, lasts, counts, tokens, peers, methods, paths, actors, jobs, types, event_ids, codes, details)
         WITH ORDINALITY AS r (first_at, last_at, times, token, peer, method, path, actor, job, type, event_id, code, detail, place)
   ORDER BY r.place;
END;

-- What a token is called, for who reads a refusal; nothing else of it, and null where there is none.
CREATE FUNCTION token_name(token_id text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT nullif(name, '') FROM tokens WHERE id = token_id;
END;

REVOKE ALL ON FUNCTION token_name(text) FROM PUBLIC;
REVOKE ALL ON refusals FROM PUBLIC;
REVOKE ALL ON FUNCTION note_refusals(timestamptz[], timestamptz[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[], text[], text[])
  FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT SELECT ON refusals TO %I', current_schema() || '_reader');
  EXECUTE format('GRANT EXECUTE ON FUNCTION token_name(text) TO %I', current_schema() || '_reader');
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION note_refusals(timestamptz[], timestamptz[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[],
                                             text[], text[]) TO %I', current_schema() || '_appender');
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION note_refusals(timestamptz[], timestamptz[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[], text[], text[]);
DROP FUNCTION token_name(text);
DROP TABLE refusals;
