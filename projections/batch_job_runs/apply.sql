-- Folds the runs that prepare.sql finds in the events into batch_job_runs. A run that is reported
-- again gets the values of the new report, and keeps its id and the time of its first report. Ids
-- do not come from the column's default. They are counted in the order in which runs first appear
-- in the log, so every rebuild gives the same ids, whatever its windows.
--
-- One event may report a hundred thousand runs. The planner does not know that, nor how many rows a
-- job has. So nothing is joined: each run is looked up by itself before the first one is written,
-- and the unique index finds conflicts.

WITH report AS MATERIALIZED (
  SELECT batch_job_id, run_index, variables, metrics, created_at, first_place,
         -- The row with exactly these values, written as a range in the order of the unique index.
         -- No other index has that order. With "=" Postgres may search all rows of the job instead.
         (SELECT id FROM batch_job_runs AS known
           WHERE (known.batch_job_id, known.run_index) >= (prepared.batch_job_id, prepared.run_index)
             AND (known.batch_job_id, known.run_index) <= (prepared.batch_job_id, prepared.run_index)
           ORDER BY known.batch_job_id, known.run_index
           LIMIT 1) AS known_id
    FROM prepared
),
added AS (
  -- A new run's id is the number of runs before plus its rank among the new ones. The first rank
  -- needs all lookups, so all of them happen before the first row is written.
  INSERT INTO batch_job_runs (id, batch_job_id, run_index, variables, metrics, created_at)
  SELECT (SELECT coalesce(max(id), 0) FROM batch_job_runs)
           + width_bucket(first_place, (SELECT array_agg(first_place ORDER BY first_place)
                                          FROM report WHERE known_id IS NULL)),
         batch_job_id, run_index, variables, metrics, created_at
    FROM report
   WHERE known_id IS NULL
)
INSERT INTO batch_job_runs (id, batch_job_id, run_index, variables, metrics, created_at)
SELECT known_id, batch_job_id, run_index, variables, metrics, created_at
  FROM report
 WHERE known_id IS NOT NULL
ON CONFLICT (batch_job_id, run_index) DO UPDATE
   SET variables = excluded.variables,
       metrics   = excluded.metrics;
