-- Folds the runs in new_events into batch_job_runs. A run reported again replaces what was known of it, but keeps its id and the time it
-- was first seen. Ids are not drawn from the column's default but counted in the order in which runs first stand in the log: so they are the
-- same in every rebuild, whatever the windows.
--
-- One event may report a hundred thousand runs, and the planner knows neither that nor how many rows a job has by now. So nothing is joined:
-- reports are sorted, each run is looked up on its own before the first is written, and conflicts are found by the unique index.

WITH event AS (
  SELECT stream_id, position, happened_at AT TIME ZONE 'UTC' AS reported_at,
         CASE type WHEN 'progress' THEN data::jsonb -> 'runs' ELSE data::jsonb -> 'results' -> 'runs' END AS runs
    FROM new_events
   WHERE type IN ('progress', 'finished')
     -- Most progress reports no runs, and need not be parsed. A name may be written with escapes.
     AND (data::text LIKE '%"runs"%' OR data::text LIKE '%\\u%')
  OFFSET 0  -- Here and below: what is worked out is worked out once, and not wherever it is used.
),
counted AS (
  -- null in place of an array is as good as none
  SELECT *, generate_series(0, CASE jsonb_typeof(runs) WHEN 'array' THEN jsonb_array_length(runs) ELSE 0 END - 1) AS ordinal
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
         -- In the log: the event's position, and behind it the run's in the event, for which its 8 MiB of data need less than 24 bits.
         first_value(position << 24 | ordinal) OVER reports AS first_place,
         lead(false, 1, true)                  OVER reports AS is_last
    FROM reported
  WINDOW reports AS (PARTITION BY batch_job_id COLLATE "C", run_index ORDER BY position, ordinal)
),
last_report AS MATERIALIZED (
  SELECT batch_job_id, run_index, variables, metrics, created_at, first_place,
         -- The row with just these values, written as a range in the order of the unique index, for no other index has that order. Asked for plainly, it
         -- may be looked for among all rows of the job.
         (SELECT id FROM batch_job_runs AS known
           WHERE (known.batch_job_id, known.run_index) >= (placed.batch_job_id, placed.run_index)
             AND (known.batch_job_id, known.run_index) <= (placed.batch_job_id, placed.run_index)
           ORDER BY known.batch_job_id, known.run_index
           LIMIT 1) AS known_id
    FROM placed
   WHERE is_last
),
added AS (
  -- A new run's id: how many there were, and its rank among those that are new. All are looked up before the first rank is known, and so
  -- before the first row is written.
  INSERT INTO batch_job_runs (id, batch_job_id, run_index, variables, metrics, created_at)
  SELECT (SELECT coalesce(max(id), 0) FROM batch_job_runs)
           + width_bucket(first_place, (SELECT array_agg(first_place ORDER BY first_place) FROM last_report WHERE known_id IS NULL)),
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
