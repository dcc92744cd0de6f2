-- Folds the runs in new_events into batch_job_runs. A run that is reported again gets the values of
-- the new report, and keeps its id and the time of its first report. Ids do not come from the
-- column's default. They are counted in the order in which runs first appear in the log, so every
-- rebuild gives the same ids, whatever its windows.
--
-- One event may report a hundred thousand runs. The planner does not know that, nor how many rows a
-- job has. So nothing is joined: reports are sorted, each run is looked up by itself before the
-- first one is written, and the unique index finds conflicts.

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
),
last_report AS MATERIALIZED (
  SELECT batch_job_id, run_index, variables, metrics, created_at, first_place,
         -- The row with exactly these values, written as a range in the order of the unique index.
         -- No other index has that order. With "=" Postgres may search all rows of the job instead.
         (SELECT id FROM batch_job_runs AS known
           WHERE (known.batch_job_id, known.run_index) >= (placed.batch_job_id, placed.run_index)
             AND (known.batch_job_id, known.run_index) <= (placed.batch_job_id, placed.run_index)
           ORDER BY known.batch_job_id, known.run_index
           LIMIT 1) AS known_id
    FROM placed
   WHERE is_last
),
added AS (
  -- A new run's id is the number of runs before plus its rank among the new ones. The first rank
  -- needs all lookups, so all of them happen before the first row is written.
  INSERT INTO batch_job_runs (id, batch_job_id, run_index, variables, metrics, created_at)
  SELECT (SELECT coalesce(max(id), 0) FROM batch_job_runs)
           + width_bucket(first_place, (SELECT array_agg(first_place ORDER BY first_place)
                                          FROM last_report WHERE known_id IS NULL)),
         batch_job_id, run_index, variables, metrics, created_at
    FROM last_report
   WHERE known_id IS NULL
)
INSERT INTO batch_job_runs (id, batch_job_id, run_index, variables, metrics, created_at)
SELECT known_id, batch_job_id, run_index, variables, metrics, created_at
  FROM last_report
 WHERE known_id IS NOT NULL
ON CONFLICT (batch_job_id, run_index) DO UPDATE
   SET variables = excluded.variables,
       metrics   = excluded.metrics;
