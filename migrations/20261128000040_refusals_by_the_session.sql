-- Who wrote a refusal down, and when, is what the session and the database say, not what the writer says; and what it says has a length.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Null in rows from before. What was written then may break the rules of now, so they are asked of new rows only.
ALTER TABLE refusals
  ADD COLUMN noted_by text,
  ADD CONSTRAINT refusals_noted_by CHECK (noted_by IS NOT NULL) NOT VALID,
  ADD CONSTRAINT refusals_times_bounded CHECK (times <= 1000000000) NOT VALID,
  ADD CONSTRAINT refusals_first_at_bounded CHECK (first_at >= last_at - interval '1 hour') NOT VALID,
  ADD CONSTRAINT refusals_lengths CHECK (
    length(token) <= 100 AND length(peer) <= 100 AND length(method) <= 100 AND length(path) <= 300 AND length(actor) <= 300
    AND length(job) <= 300 AND length(type) <= 300 AND length(detail) <= 300) NOT VALID,
  ADD CONSTRAINT refusals_code_form CHECK (code ~ '^[a-z][a-z0-9_]{0,63}$') NOT VALID;
ALTER TABLE refusals ALTER COLUMN noted_by SET DEFAULT session_user;

DROP FUNCTION note_refusals(timestamptz[], timestamptz[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[], text[], text[]);

-- Notes down refusals: arrays, a place in each for one of them, at most 2,000. When each was first and last, in milliseconds ago: an hour at most,
-- for which a service that cannot reach the database may keep them. Texts are cut, so that one that is too long does not keep out the others. With
-- the owner's rights, so that who may append need not read them, and cannot write them in any other way.
CREATE FUNCTION note_refusals(
  firsts_ago bigint[], lasts_ago bigint[], counts bigint[], tokens text[], peers text[], methods text[], paths text[], actors text[],
  jobs text[], types text[], event_ids uuid[], codes text[], details text[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  now   CONSTANT timestamptz := clock_timestamp();
  -- In milliseconds.
  hour  CONSTANT bigint := 3600000;
  -- The longest of all: unnest fills up the others.
  count CONSTANT integer := (SELECT max(coalesce(cardinality(a), 0))
                               FROM (VALUES (firsts_ago::text[]), (lasts_ago::text[]), (counts::text[]), (tokens), (peers), (methods), (paths), (actors),
                                            (jobs), (types), (event_ids::text[]), (codes), (details)) AS given (a));
BEGIN
  IF count > 2000 THEN
    RAISE EXCEPTION '% refusals at once: at most 2000 are noted by one call', count
      USING ERRCODE = 'program_limit_exceeded', HINT = 'Note them by several calls.';
  END IF;
  INSERT INTO refusals (first_at, last_at, times, token, peer, method, path, actor, job, type, event_id, code, detail)
  SELECT now - greatest(last, least(greatest(r.first_ago, 0), hour)) * interval '1 ms', now - last * interval '1 ms',
         least(r.times, 1000000000), left(r.token, 100), left(r.peer, 100), left(r.method, 100), left(r.path, 300), left(r.actor, 300),
         left(r.job, 300), left(r.type, 300), r.event_id, r.code, left(r.detail, 300)
    FROM unnest(firsts_ago, lasts_ago, counts, tokens, peers, methods, paths, actors, jobs, types, event_ids, codes, details)
         WITH ORDINALITY AS r (first_ago, last_ago, times, token, peer, method, path, actor, job, type, event_id, code, detail, place)
    CROSS JOIN LATERAL (SELECT least(greatest(r.last_ago, 0), hour) AS last) AS bounded
   ORDER BY r.place;
END
$$;

REVOKE ALL ON FUNCTION note_refusals(bigint[], bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[], text[], text[])
  FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION note_refusals(bigint[], bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[], text[], text[])
      TO %I', current_schema() || '_appender');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION note_refusals(bigint[], bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[], text[], text[]);

ALTER TABLE refusals
  DROP CONSTRAINT refusals_code_form,
  DROP CONSTRAINT refusals_lengths,
  DROP CONSTRAINT refusals_first_at_bounded,
  DROP CONSTRAINT refusals_times_bounded,
  DROP COLUMN noted_by;

-- As it was.
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
REVOKE ALL ON FUNCTION note_refusals(timestamptz[], timestamptz[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[], text[], text[])
  FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION note_refusals(timestamptz[], timestamptz[], bigint[], text[], text[], text[], text[], text[], text[], text[], uuid[],
                                             text[], text[]) TO %I', current_schema() || '_appender');
END
$$;

SELECT hand_over();
