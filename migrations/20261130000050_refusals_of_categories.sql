-- Refusals name the stream of any category, and not only jobs.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The column `job` is the id of a stream of this category. A row that has an id and no category is
-- of a job: it is older than this column, or of a service that is.
ALTER TABLE refusals
  ADD COLUMN category text,
  ADD CONSTRAINT refusals_category_length CHECK (length(category) <= 100);
CREATE INDEX refusals_by_category ON refusals (category, number) WHERE category IS NOT NULL;

DROP FUNCTION note_refusals(bigint[], bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[],
  uuid[], text[], text[]);

-- Records refusals: parallel arrays, with an element for each refusal. Times are milliseconds ago,
-- so that the clock is the database's. With the owner's rights, so that who may append need not
-- read refusals. `jobs` are ids of streams, of the categories beside them. A service that is older
-- than those gives none.
CREATE FUNCTION note_refusals(
  firsts_ago bigint[], lasts_ago bigint[], counts bigint[], tokens text[], peers text[], methods text[],
  paths text[], actors text[], jobs text[], types text[], event_ids uuid[], codes text[], details text[],
  categories text[] DEFAULT null
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
                   (actors), (jobs), (types), (event_ids::text[]), (codes), (details), (categories)) AS given (a));
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
  INSERT INTO refusals (first_at, last_at, times, token, peer, method, path, actor, job, type, event_id, code, detail,
                        category)
  SELECT now - greatest(last, least(greatest(r.first_ago, 0), hour)) * interval '1 ms', now - last * interval '1 ms',
         least(r.times, 1000000000), left(r.token, 100), left(r.peer, 100), left(r.method, 100), left(r.path, 300),
         left(r.actor, 300), left(r.job, 300), left(r.type, 300), r.event_id, r.code, left(r.detail, 300),
         left(r.category, 100)
    FROM unnest(firsts_ago, lasts_ago, counts, tokens, peers, methods, paths, actors, jobs, types, event_ids,
                codes, details, categories)
           WITH ORDINALITY AS r (first_ago, last_ago, times, token, peer, method, path, actor, job, type, event_id,
                                 code, detail, category, place)
    CROSS JOIN LATERAL (SELECT least(greatest(r.last_ago, 0), hour) AS last) AS bounded
   ORDER BY r.place;
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the refusals of today locked for 10 s'
    USING ERRCODE = 'lock_not_available',
      HINT = 'These refusals were not written. Find it: SELECT * FROM pg_locks WHERE relation = '
             '''refusal_days''::regclass.';
END
$$;

DO $$
BEGIN
  REVOKE ALL ON FUNCTION note_refusals FROM PUBLIC;
  EXECUTE format('GRANT EXECUTE ON FUNCTION note_refusals TO %I', current_schema() || '_appender');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM refusals WHERE category <> 'job') THEN
    RAISE EXCEPTION 'recorded refusals name streams of other categories, which would look like jobs'
      USING HINT = 'Stay at this version.';
  END IF;
END
$$;

DROP FUNCTION note_refusals(bigint[], bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[],
  uuid[], text[], text[], text[]);
ALTER TABLE refusals DROP COLUMN category;

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

DO $$
BEGIN
  REVOKE ALL ON FUNCTION note_refusals FROM PUBLIC;
  EXECUTE format('GRANT EXECUTE ON FUNCTION note_refusals TO %I', current_schema() || '_appender');
END
$$;

SELECT hand_over();
