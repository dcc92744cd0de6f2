-- Batches in which no job comes twice, as many callers with one event each make them. Their events do not depend on each other, so
-- that neither windows nor groups are needed, and heads, checks and insert are one statement.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Appends a batch by the rules of append_batch(), which it asks wherever something is not plain. `event_ids` is complete.
--
-- `known_versions` may say for each event a version that its job has reached. Postgres reads all of a job's entries on a page of the
-- index to find the last; from a version that is near, it reads a few. One that is wrong costs time and nothing else.
CREATE FUNCTION append_one_each(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[],
  expected_versions integer[],
  event_ids         uuid[],
  occurred_ats      timestamptz[],
  known_versions    integer[],
  appender          text   DEFAULT null,
  turn              bigint DEFAULT null
) RETURNS batch_answer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
  batch            CONSTANT integer := cardinality(jobs);
  longest_data     CONSTANT integer := 8 * 1024 * 1024;
  longest_metadata CONSTANT integer := 64 * 1024;
  is_plain         boolean;
  is_mere_progress boolean;
  completeds       integer[];
  new_totals       integer[];
  answer           batch_answer;
BEGIN
  -- What can be known without the log, before it is locked.
  BEGIN
    IF batch BETWEEN 1 AND 10000 AND pg_column_size(data) <= longest_data THEN
      SELECT count(DISTINCT e.job) = batch AND count(DISTINCT e.id) = batch, count(e.completed) = batch, array_agg(e.completed)
        INTO is_plain, is_mere_progress, completeds
        FROM (
          SELECT e.job, e.id, CASE WHEN is_mere_progress(e.type, e.value) THEN (e.value -> 'completed')::integer END AS completed
            FROM (
              SELECT e.job COLLATE "C" AS job, e.type COLLATE "C" AS type, e.data::jsonb AS value, e.id
                FROM unnest(jobs, types, data, event_ids) AS e (job, type, data, id)
              OFFSET 0) AS e
          OFFSET 0) AS e;
      IF NOT is_mere_progress THEN
        SELECT is_plain AND bool_and(coalesce((e.finding).is_plain AND length(e.job) BETWEEN 1 AND 255 AND e.job !~ '[\x01-\x1f\x7f]', false)),
               array_agg((e.finding).completed), array_agg((e.finding).total)
          INTO is_plain, completeds, new_totals
          FROM (
            SELECT e.job, CASE WHEN e.completed IS NULL THEN find_plain(e.type, e.data::jsonb) ELSE (true, null, e.completed)::job_finding END AS finding
              FROM unnest(jobs, types, data, completeds) AS e (job, type, data, completed)
            OFFSET 0) AS e;
      END IF;
      IF num_nonnulls(metadata, expected_versions, occurred_ats) > 0 THEN
        SELECT is_plain AND bool_and(
                 e.job IS NOT NULL AND (e.expected >= 0) IS NOT FALSE
                   AND (e.moment BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00') IS NOT FALSE
                   AND CASE WHEN e.metadata IS NULL OR e.metadata = '{}' THEN true
                            ELSE octet_length(e.metadata) <= longest_metadata AND is_plain_metadata(e.metadata::jsonb) END)
          INTO is_plain
          FROM unnest(jobs, metadata, expected_versions, occurred_ats) AS e (job, metadata, expected, moment);
      END IF;
    END IF;
  EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    is_plain := false;
  END;
  IF is_plain IS NOT TRUE THEN
    RETURN append_batch(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, null, appender, turn);
  END IF;

  IF turn IS NOT NULL THEN
    PERFORM await_turn(appender, turn);
  END IF;
  PERFORM begin_numbering();
  IF turn IS NOT NULL THEN
    PERFORM end_turn(appender, turn);
  END IF;

  WITH head AS MATERIALIZED (
    SELECT coalesce(max(e.position), 0) AS position, greatest(clock_timestamp(), max(e.recorded_at)) AS recorded_at
      FROM (SELECT e.position, e.recorded_at FROM events AS e ORDER BY e.position DESC LIMIT 1) AS e
  ),
  event AS MATERIALIZED (
    SELECT e.ordinal, e.job, e.type, e.data, e.metadata, e.id, e.moment, e.completed,
           coalesce(last.version, 0) + 1 AS version, coalesce(e.new_total, last.total, 0) AS total,
           CASE WHEN e.type = 'queued' THEN last.version IS NULL ELSE last.version IS NOT NULL AND NOT last.has_ended END
             AND (e.expected <> coalesce(last.version, 0)) IS NOT TRUE
             AND (e.completed > nullif(coalesce(e.new_total, last.total), 0)) IS NOT TRUE AS fits
      FROM unnest(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, completeds, new_totals, known_versions)
             WITH ORDINALITY AS e (job, type, data, metadata, expected, id, moment, completed, new_total, known, ordinal)
      LEFT JOIN LATERAL (
        SELECT h.version, h.total, h.type IN ('finished', 'failed') AS has_ended FROM events AS h
         WHERE h.stream_id = e.job AND h.version >= CASE WHEN e.type = 'queued' THEN 1 ELSE coalesce(e.known, 1) END
           AND h.category IS NOT DISTINCT FROM 'job'
         ORDER BY h.version DESC LIMIT 1) AS last ON true
  ),
  verdict AS MATERIALIZED (
    SELECT bool_and(event.fits) AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = ANY (event_ids)) AS fits,
           array_agg(event.version) AS versions
      FROM event
  ),
  written AS (
    INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
    SELECT head.position + e.ordinal, e.id, e.job, e.version, e.type, e.data::json, coalesce(e.metadata, '{}')::json, e.moment,
           head.recorded_at, e.total, e.completed
      FROM event AS e, head
     WHERE (SELECT verdict.fits FROM verdict)
  )
  SELECT head.position + 1, verdict.versions, event_ids
    INTO answer.first_position, answer.versions, answer.event_ids
    FROM verdict, head
   WHERE verdict.fits;
  IF NOT found THEN
    RETURN append_batch(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats);
  END IF;
  RETURN answer;
END
$$;

REVOKE ALL ON FUNCTION
  append_one_each(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint)
FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION
       append_one_each(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint) TO %I',
    current_schema() || '_appender');
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION append_one_each(text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint);
