-- Nearly all batches are plain: every event is well-formed, and its job is where the event takes it to be. What can be known of that
-- without the log is worked out here, for a whole batch at once and before the log is locked. An event counts as plain only where
-- check_event() would find nothing; it may find nothing where an event is not plain, which only costs time.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- What a batch asks for, worked out before the log is locked.
CREATE TYPE checked_batch AS (
  is_plain          boolean,
  -- By ordinal, the event's place in the call.
  ids               uuid[],
  documents         json[],
  contexts          json[],
  streams           integer[],  -- the number of its job within the call
  places            integer[],  -- its place among the events of that job
  new_totals        integer[],  -- the total that it sets, null where it sets none
  totals            integer[],  -- the total known after it, null where only the log knows
  completeds        integer[],
  -- By number of the job.
  stream_jobs       text[],
  stream_opens      boolean[],  -- the first event is queued
  stream_expected   integer[],  -- the version that its events expect the job to be at, null where they expect none
  stream_completeds integer[]   -- the most that is completed while only the log knows the total
);

CREATE TYPE job_finding AS (is_plain boolean, total integer, completed integer);

-- What check_event() finds in data that have been parsed, but without a reason: whoever is told no asks there.
CREATE FUNCTION find_plain(type text, data jsonb) RETURNS job_finding
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  finding record;
BEGIN
  IF coalesce(jsonb_typeof(data) <> 'object' OR type NOT IN ('queued', 'progress', 'truncated', 'finished', 'failed'), true)
    OR data @? '$.** ? (@.type() == "number" && (@.abs() > 1.8e308 || (@ != 0 && @.abs() < 4.9e-324)))'
    -- Each level takes eight bytes at least.
    OR pg_column_size(data) > 1024 AND data @? '$.**{129}'
  THEN
    RETURN (false, null, null)::job_finding;
  END IF;
  finding := check_job_data(type, data);
  RETURN (finding.problem IS NULL, finding.total, finding.completed)::job_finding;
END
$$;

-- By far the most events: told apart without a function's call, for the planner writes this into the statement that asks.
CREATE FUNCTION is_mere_progress(type text, data jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN coalesce(
  type = 'progress' AND data - '{completed,message}'::text[] = '{}'
    AND jsonb_typeof(data -> 'completed') = 'number' AND (data ->> 'completed')::integer >= 0
    AND (jsonb_typeof(data -> 'message') = 'string') IS NOT FALSE, false);

CREATE FUNCTION is_plain_metadata(metadata jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN jsonb_typeof(metadata) = 'object'
     AND (jsonb_typeof(metadata -> 'actor') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'correlation_id') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'causation_id') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'traceparent') = 'string') IS NOT FALSE
     AND NOT metadata @? '$.** ? (@.type() == "number" && (@.abs() > 1.8e308 || (@ != 0 && @.abs() < 4.9e-324)))'
     AND (pg_column_size(metadata) <= 1024 OR NOT metadata @? '$.**{129}');
END
$$;

-- Everything about a batch that does not depend on the log. Where it is not plain, nothing but that is said.
CREATE FUNCTION check_batch(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], event_ids uuid[], occurred_ats timestamptz[],
  requests integer[]
) RETURNS checked_batch
LANGUAGE plpgsql AS $$
DECLARE
  batch            CONSTANT integer := cardinality(jobs);
  longest_data     CONSTANT integer := 8 * 1024 * 1024;
  longest_metadata CONSTANT integer := 64 * 1024;
  answer           checked_batch;
  first_expected   integer[] := expected_versions;
  rest_is_plain    boolean;
BEGIN
  -- What most callers leave out is looked at only where it is given.
  rest_is_plain := greatest(cardinality(metadata), cardinality(expected_versions), cardinality(event_ids), cardinality(occurred_ats),
                            cardinality(requests)) <= batch
    IS NOT FALSE;
  IF pg_column_size(data) > longest_data THEN
    rest_is_plain := rest_is_plain AND (SELECT max(octet_length(e.data)) <= longest_data FROM unnest(data) AS e (data));
  END IF;
  IF metadata IS NOT NULL THEN
    rest_is_plain := rest_is_plain AND (
      SELECT bool_and(CASE WHEN e.metadata IS NULL OR e.metadata = '{}' THEN true
                           ELSE octet_length(e.metadata) <= longest_metadata AND is_plain_metadata(e.metadata::jsonb) END)
        FROM unnest(metadata) AS e (metadata));
  END IF;
  IF occurred_ats IS NOT NULL THEN
    rest_is_plain := rest_is_plain AND (
      SELECT bool_and(e.moment BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00') IS NOT FALSE
        FROM unnest(occurred_ats) AS e (moment));
  END IF;
  IF expected_versions IS NOT NULL THEN
    rest_is_plain := rest_is_plain AND (SELECT min(version) >= 0 FROM unnest(expected_versions) AS version) IS NOT FALSE;
  END IF;
  -- Only the first event of a request says which version it expects.
  IF requests IS NOT NULL AND (SELECT count(DISTINCT request) < count(request) FROM unnest(requests) AS request) THEN
    SELECT rest_is_plain AND bool_and((e.request = e.previous AND e.job <> e.previous_job) IS NOT TRUE),
           array_agg(CASE WHEN e.request = e.previous THEN null ELSE e.expected_version END ORDER BY e.ordinal)
      INTO rest_is_plain, first_expected
      FROM (
        SELECT e.*, lag(e.request) OVER by_ordinal AS previous, lag(e.job) OVER by_ordinal AS previous_job
          FROM unnest(jobs, requests, expected_versions) WITH ORDINALITY AS e (job, request, expected_version, ordinal)
        WINDOW by_ordinal AS (ORDER BY e.ordinal)) AS e;
  END IF;
  IF NOT rest_is_plain THEN
    answer.is_plain := false;
    RETURN answer;
  END IF;

  IF cardinality(event_ids) = batch AND array_position(event_ids, null) IS NULL THEN
    answer.ids := event_ids;
  ELSE
    SELECT array_agg(coalesce(e.id, uuid_v7())) INTO answer.ids FROM unnest(jobs, event_ids) AS e (job, id);
  END IF;
  answer.documents := data::json[];
  answer.contexts := metadata::json[];

  SELECT coalesce(bool_and(e.is_plain), false), array_agg(e.stream), array_agg(e.place), array_agg(e.new_total),
         array_agg((e.total & 4294967295)::integer), array_agg(e.completed)
    INTO answer.is_plain, answer.streams, answer.places, answer.new_totals, answer.totals, answer.completeds
    FROM (
      SELECT e.ordinal, e.new_total, e.completed, e.is_plain,
             dense_rank() OVER (ORDER BY e.job) AS stream,
             row_number() OVER in_stream AS place,
             -- The last total that was set, by way of the greatest ordinal.
             max(e.ordinal << 32 | e.new_total) OVER in_stream AS total
        FROM (
          SELECT e.ordinal, e.job,
                 CASE WHEN e.is_mere_progress THEN (e.value -> 'completed')::integer ELSE (e.finding).completed END AS completed,
                 (e.finding).total AS new_total,
                 e.is_mere_progress OR coalesce((e.finding).is_plain, false) AS is_plain
            FROM (
              SELECT e.*, CASE WHEN e.is_mere_progress THEN null ELSE find_plain(e.type, e.value) END AS finding
                FROM (
                  SELECT e.*, is_mere_progress(e.type, e.value) AS is_mere_progress
                    FROM (
                      SELECT e.ordinal, e.job COLLATE "C" AS job, e.type COLLATE "C" AS type, e.data::jsonb AS value
                        FROM unnest(jobs, types, data) WITH ORDINALITY AS e (job, type, data, ordinal)
                      OFFSET 0) AS e
                  OFFSET 0) AS e
              OFFSET 0) AS e) AS e
      WINDOW in_stream AS (PARTITION BY e.job ORDER BY e.ordinal)
       ORDER BY e.ordinal) AS e;

  IF NOT answer.is_plain OR (SELECT count(DISTINCT id) < batch FROM unnest(answer.ids) AS id) THEN
    answer.is_plain := false;
    RETURN answer;
  END IF;

  SELECT array_agg(s.job), array_agg(s.opens IS NOT NULL), array_agg(s.expected), array_agg(s.completed),
         -- A job opens with its first event, and nothing follows its end.
         coalesce(bool_and(coalesce(
           length(s.job) BETWEEN 1 AND 255 AND s.job !~ '[\x01-\x1f\x7f]'
             AND coalesce(s.opens, 1) = 1 AND coalesce(s.ends, s.events) = s.events
             AND s.is_within_total IS NOT FALSE AND (s.least_expected <> s.expected) IS NOT TRUE, false)), false)
    INTO answer.stream_jobs, answer.stream_opens, answer.stream_expected, answer.stream_completeds, answer.is_plain
    FROM (
      SELECT min(e.job) AS job, count(*) AS events,
             max(e.place) FILTER (WHERE e.type = 'queued') AS opens,
             min(e.place) FILTER (WHERE e.type IN ('finished', 'failed')) AS ends,
             max(e.completed) FILTER (WHERE e.total IS NULL) AS completed,
             bool_and(e.completed <= e.total OR e.total = 0) AS is_within_total,
             max(e.expected - e.place + 1) AS expected, min(e.expected - e.place + 1) AS least_expected
        FROM unnest(jobs, types, first_expected, answer.streams, answer.places, answer.totals, answer.completeds)
               AS e (job, type, expected, stream, place, total, completed)
       GROUP BY e.stream
       ORDER BY e.stream) AS s;
  RETURN answer;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  -- Some data are no JSON that the ledger takes; which ones, and why, is for check_event() to say.
  RETURN (false, null, null, null, null, null, null, null, null, null, null, null, null)::checked_batch;
END
$$;

REVOKE ALL ON FUNCTION
  check_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
  find_plain(text, jsonb), is_mere_progress(text, jsonb), is_plain_metadata(jsonb)
FROM PUBLIC;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION check_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]);
DROP FUNCTION is_plain_metadata(jsonb);
DROP FUNCTION is_mere_progress(text, jsonb);
DROP FUNCTION find_plain(text, jsonb);
DROP TYPE job_finding;
DROP TYPE checked_batch;
