-- What is checked before the log is locked, for many events at once and without reasons. An event
-- is plain here only where check_event() would find nothing wrong. Where these checks doubt a good
-- event, it only takes longer.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- What a quick check finds in one event's data.
CREATE TYPE quick_finding AS (is_plain boolean, total integer, completed integer);

-- By far the most events. The planner writes this into the statement that asks, so it costs no
-- call.
CREATE FUNCTION is_mere_progress(type text, data jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN coalesce(
  type = 'progress' AND data - '{completed,message}'::text[] = '{}'
    AND jsonb_typeof(data -> 'completed') = 'number' AND (data ->> 'completed')::integer >= 0
    AND (jsonb_typeof(data -> 'message') = 'string') IS NOT FALSE, false);

-- What check_event() finds in data that are parsed already, without the reason.
CREATE FUNCTION quick_check(type text, data jsonb) RETURNS quick_finding
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  finding record;
BEGIN
  IF coalesce(jsonb_typeof(data) <> 'object' OR NOT is_event_type(type), true)
    OR has_number_out_of_range(data)
    -- Each level takes eight bytes at least, so smaller data cannot be too deep.
    OR pg_column_size(data) > 1024 AND is_nested_too_deep(data)
  THEN
    RETURN (false, null, null)::quick_finding;
  END IF;
  finding := check_data(type, data);
  RETURN (finding.problem IS NULL, finding.total, finding.completed)::quick_finding;
END
$$;

CREATE FUNCTION is_plain_context(metadata jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN jsonb_typeof(metadata) = 'object'
     AND (jsonb_typeof(metadata -> 'actor') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'correlation_id') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'causation_id') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'traceparent') = 'string') IS NOT FALSE
     AND NOT has_number_out_of_range(metadata)
     AND (pg_column_size(metadata) <= 1024 OR NOT is_nested_too_deep(metadata));
END
$$;

-- Most events have no metadata. Raises a data exception if the text is not JSON.
CREATE FUNCTION is_plain_metadata(metadata text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN CASE
  WHEN metadata IS NULL OR metadata = '{}' THEN true
  ELSE octet_length(metadata) <= longest_metadata() AND is_plain_context(metadata::jsonb)
END;

CREATE FUNCTION longest_batch() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 10000;

-- Says what is wrong with the arrays of a call, after append_batch() has found that something is.
CREATE FUNCTION refuse_arguments(jobs text[], types text[], data text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(jobs) > longest_batch() THEN
    RAISE EXCEPTION 'a call takes % events at most, not %', longest_batch(), cardinality(jobs)
      USING ERRCODE = 'program_limit_exceeded';
  ELSIF cardinality(types) IS DISTINCT FROM cardinality(jobs)
    OR cardinality(data) IS DISTINCT FROM cardinality(jobs)
  THEN
    RAISE EXCEPTION 'jobs, types and data must have the same length' USING ERRCODE = 'array_subscript_error';
  END IF;
  RAISE EXCEPTION 'every array must have one dimension, and begin at 1' USING ERRCODE = 'array_subscript_error';
END
$$;

-- What append_to_distinct_jobs() has to know. `is_plain` is not true where a job or an event id
-- comes twice.
CREATE FUNCTION check_distinct_jobs(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], event_ids uuid[],
  occurred_ats timestamptz[]
) RETURNS checked_events
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch            CONSTANT integer := cardinality(jobs);
  checked          checked_events;
  is_mere_progress boolean;
BEGIN
  IF batch NOT BETWEEN 1 AND longest_batch() OR pg_column_size(data) > longest_data() THEN
    RETURN checked;
  END IF;
  SELECT count(DISTINCT e.job) = batch AND count(DISTINCT e.id) = batch, count(e.completed) = batch,
      array_agg(e.completed)
    INTO checked.is_plain, is_mere_progress, checked.completeds
    FROM (
      SELECT e.job, e.id, CASE WHEN is_mere_progress(e.type, e.value)
          THEN (e.value -> 'completed')::integer END AS completed
        FROM (
          SELECT e.job COLLATE "C" AS job, e.type COLLATE "C" AS type, e.data::jsonb AS value, e.id
            FROM unnest(jobs, types, data, event_ids) AS e (job, type, data, id)
          OFFSET 0) AS e
      OFFSET 0) AS e;
  -- Progress of a job with a bad id is refused all the same: there is no such job.
  IF NOT is_mere_progress THEN
    SELECT checked.is_plain AND bool_and(coalesce((e.finding).is_plain AND is_stream_id(e.job), false)),
           array_agg((e.finding).completed), array_agg((e.finding).total)
      INTO checked.is_plain, checked.completeds, checked.totals
      FROM (
        SELECT e.job, CASE WHEN e.completed IS NULL THEN quick_check(e.type, e.data::jsonb)
                           ELSE (true, null, e.completed)::quick_finding END AS finding
          FROM unnest(jobs, types, data, checked.completeds) AS e (job, type, data, completed)
        OFFSET 0) AS e;
  END IF;
  IF num_nonnulls(metadata, expected_versions, occurred_ats) > 0 THEN
    SELECT checked.is_plain AND bool_and(
             e.job IS NOT NULL AND (e.expected >= 0) IS NOT FALSE AND is_event_time(e.moment) IS NOT FALSE
               AND is_plain_metadata(e.metadata))
      INTO checked.is_plain
      FROM unnest(jobs, metadata, expected_versions, occurred_ats) AS e (job, metadata, expected, moment);
  END IF;
  RETURN checked;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  RETURN (false, null, null)::checked_events;
END
$$;

-- What append_batch() has to know. Where the batch is not plain, nothing else is said of it.
CREATE FUNCTION check_batch(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], event_ids uuid[],
  occurred_ats timestamptz[], requests integer[]
) RETURNS checked_batch
LANGUAGE plpgsql AS $$
DECLARE
  batch          CONSTANT integer := cardinality(jobs);
  answer         checked_batch;
  first_expected integer[] := expected_versions;
  rest_is_plain  boolean;
BEGIN
  -- What most callers leave out is looked at only where it is given.
  rest_is_plain := greatest(cardinality(metadata), cardinality(expected_versions), cardinality(event_ids),
                            cardinality(occurred_ats), cardinality(requests)) <= batch IS NOT FALSE;
  IF pg_column_size(data) > longest_data() THEN
    rest_is_plain := rest_is_plain
      AND (SELECT max(octet_length(e.data)) <= longest_data() FROM unnest(data) AS e (data));
  END IF;
  IF metadata IS NOT NULL THEN
    rest_is_plain := rest_is_plain
      AND (SELECT bool_and(is_plain_metadata(e.metadata)) FROM unnest(metadata) AS e (metadata));
  END IF;
  IF occurred_ats IS NOT NULL THEN
    rest_is_plain := rest_is_plain
      AND (SELECT bool_and(is_event_time(moment)) IS NOT FALSE FROM unnest(occurred_ats) AS moment);
  END IF;
  IF expected_versions IS NOT NULL THEN
    rest_is_plain := rest_is_plain
      AND (SELECT min(version) >= 0 FROM unnest(expected_versions) AS version) IS NOT FALSE;
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

  SELECT coalesce(bool_and(e.is_plain AND (e.place = 1 OR lifecycle_refusal(e.type, e.previous_type) IS NULL)), false),
         array_agg(e.stream), array_agg(e.place), array_agg(e.new_total),
         array_agg((e.total & 4294967295)::integer), array_agg(e.completed)
    INTO answer.is_plain, answer.streams, answer.places, answer.new_totals, answer.totals, answer.completeds
    FROM (
      SELECT e.ordinal, e.type, e.new_total, e.completed, e.is_plain,
             dense_rank() OVER (ORDER BY e.job) AS stream,
             row_number() OVER in_stream AS place,
             lag(e.type) OVER in_stream AS previous_type,
             -- The last total that was set: the one with the greatest ordinal.
             max(e.ordinal << 32 | e.new_total) OVER in_stream AS total
        FROM (
          SELECT e.ordinal, e.job, e.type,
                 CASE WHEN e.is_mere_progress THEN (e.value -> 'completed')::integer
                   ELSE (e.finding).completed END AS completed, (e.finding).total AS new_total,
                 e.is_mere_progress OR coalesce((e.finding).is_plain, false) AS is_plain
            FROM (
              SELECT e.*, CASE WHEN e.is_mere_progress THEN null ELSE quick_check(e.type, e.value) END AS finding
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

  SELECT array_agg(s.job), array_agg(s.first_type), array_agg(s.expected), array_agg(s.completed),
         coalesce(bool_and(coalesce(
           is_stream_id(s.job) AND s.is_within_total AND (s.least_expected <> s.expected) IS NOT TRUE, false)), false)
    INTO answer.stream_jobs, answer.stream_first_types, answer.stream_expected, answer.stream_completeds,
      answer.is_plain
    FROM (
      SELECT min(e.job) AS job, min(e.type) FILTER (WHERE e.place = 1) AS first_type,
             max(e.completed) FILTER (WHERE e.total IS NULL) AS completed,
             bool_and(NOT exceeds_total(e.completed, e.total)) AS is_within_total,
             max(e.expected - e.place + 1) AS expected, min(e.expected - e.place + 1) AS least_expected
        FROM unnest(jobs, types, first_expected, answer.streams, answer.places, answer.totals, answer.completeds)
               AS e (job, type, expected, stream, place, total, completed)
       GROUP BY e.stream
       ORDER BY e.stream) AS s;
  RETURN answer;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  -- Some data is not JSON that the ledger takes. check_event() says which, and why.
  RETURN (false, null, null, null, null, null, null, null, null, null, null, null, null)::checked_batch;
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION
  check_batch(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
  check_distinct_jobs(text[], text[], text[], text[], integer[], uuid[], timestamptz[]), longest_batch(),
  refuse_arguments(text[], text[], text[]),
  is_plain_metadata(text), is_plain_context(jsonb), quick_check(text, jsonb), is_mere_progress(text, jsonb);
DROP TYPE quick_finding;
