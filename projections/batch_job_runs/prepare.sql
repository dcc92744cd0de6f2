-- The runs that new_events report: one row for each, with the values of its last report, and with
-- the time and place of its first.

WITH event AS (
  SELECT stream_id, position, happened_at AT TIME ZONE 'UTC' AS reported_at,
         CASE type WHEN 'progress' THEN data::jsonb -> 'runs' ELSE data::jsonb -> 'results' -> 'runs' END AS runs
    FROM new_events
   WHERE type IN ('progress', 'finished')
     -- Most progress events report no runs and need not be parsed. The name may contain escapes.
     AND (data::text LIKE '%"runs"%' OR data::text LIKE '%\\u%')
  OFFSET 0  -- Here and below: evaluates the expressions once, and not wherever they are used.
),
counted AS (
  -- null instead of an array reports no runs
  SELECT *,
         generate_series(0, CASE jsonb_typeof(runs) WHEN 'array' THEN jsonb_array_length(runs) ELSE 0 END - 1)
           AS ordinal
    FROM event
),
single AS (
  SELECT stream_id, position, reported_at, ordinal, runs -> ordinal AS run
    FROM counted
  OFFSET 0
),
reported AS (
  SELECT stream_id                                                     AS batch_job_id,
         coalesce(nullif(run -> 'run_index', 'null')::integer, ordinal) AS run_index,
         coalesce(nullif(run -> 'variables', 'null'), '{}')            AS variables,
         coalesce(nullif(run -> 'metrics', 'null'), '{}')              AS metrics,
         reported_at,
         position,
         ordinal
    FROM single
),
placed AS (
  SELECT batch_job_id, run_index, variables, metrics,
         first_value(reported_at)              OVER reports AS created_at,
         -- The run's place in the log: the event's position, and in the lower 24 bits the run's
         -- place in the event. The 8 MiB of an event cannot contain 2^24 runs.
         first_value(position << 24 | ordinal) OVER reports AS first_place,
         lead(false, 1, true)                  OVER reports AS is_last
    FROM reported
  WINDOW reports AS (PARTITION BY batch_job_id COLLATE "C", run_index ORDER BY position, ordinal)
)
SELECT batch_job_id, run_index, variables, metrics, created_at, first_place
  FROM placed
 WHERE is_last
