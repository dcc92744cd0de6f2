-- Folds the runs in new_events into batch_job_runs. A run reported again replaces what was known of it, but keeps its id and
-- the time it was first seen. Ids are not drawn from the column's default but counted in the order in which runs first stand in the log:
-- so they are the same in every rebuild, whatever the windows.

WITH reported AS (
  SELECT event.stream_id                                             AS batch_job_id,
         coalesce(nullif(run.value -> 'run_index', 'null')::integer, run.ordinal::integer - 1) AS run_index,
         coalesce(nullif(run.value -> 'variables', 'null'), '{}')    AS variables,
         coalesce(nullif(run.value -> 'metrics', 'null'), '{}')      AS metrics,
         event.happened_at AT TIME ZONE 'UTC'                        AS reported_at,
         event.position,
         run.ordinal
    FROM (SELECT stream_id, position, happened_at,
                 CASE type WHEN 'progress' THEN data::jsonb -> 'runs' ELSE data::jsonb -> 'results' -> 'runs' END AS runs
            FROM new_events
           WHERE type IN ('progress', 'finished')
             -- Most progress reports no runs, and need not be parsed. A name may be written with escapes.
             AND (strpos(data::text, '"runs"') > 0 OR strpos(data::text, '\u') > 0)) AS event,
         -- null in place of an array is as good as none
         jsonb_array_elements(CASE jsonb_typeof(event.runs) WHEN 'array' THEN event.runs ELSE '[]' END)
           WITH ORDINALITY AS run (value, ordinal)
),
first_report AS (
  SELECT DISTINCT ON (batch_job_id, run_index) batch_job_id, run_index, reported_at, position, ordinal
    FROM reported
   ORDER BY batch_job_id, run_index, position, ordinal
),
last_report AS (
  SELECT DISTINCT ON (batch_job_id, run_index) batch_job_id, run_index, variables, metrics
    FROM reported
   ORDER BY batch_job_id, run_index, position DESC, ordinal DESC
),
new_run AS (
  SELECT batch_job_id, run_index, last_report.variables, last_report.metrics, first_report.reported_at AS created_at,
         -- Only runs that are not there yet count; the others get a number that is not used.
         coalesce((SELECT max(id) FROM batch_job_runs), 0)
           + sum((known.id IS NULL)::integer) OVER (ORDER BY first_report.position, first_report.ordinal) AS next_id
    FROM first_report
    JOIN last_report USING (batch_job_id, run_index)
    LEFT JOIN batch_job_runs AS known USING (batch_job_id, run_index)
)
MERGE INTO batch_job_runs AS run
USING new_run AS new
   ON run.batch_job_id = new.batch_job_id AND run.run_index = new.run_index

WHEN NOT MATCHED THEN
  INSERT (id, batch_job_id, run_index, variables, metrics, created_at)
  VALUES (new.next_id, new.batch_job_id, new.run_index, new.variables, new.metrics, new.created_at)

WHEN MATCHED THEN
  UPDATE SET variables = new.variables, metrics = new.metrics;
