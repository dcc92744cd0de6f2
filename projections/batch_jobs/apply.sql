-- Folds new_events into batch_jobs. A job has at most one queued and one ending event, so min()
-- over that one value picks it. Only those data are parsed: new_events has a column for what a
-- progress event says in "completed".
--
-- A known total is at least what was completed, also if a later event lowers the total. "completed"
-- is never lowered to the total: a later window may raise the total again.

WITH folded AS (
  SELECT stream_id AS id,
         (min(data::text) FILTER (WHERE type = 'queued'))::jsonb                     AS queued,
         (min(data::text) FILTER (WHERE type = 'finished'))::jsonb                   AS finished,
         (min(data::text) FILTER (WHERE type = 'failed'))::jsonb                     AS failed,
         max(type) FILTER (WHERE type IN ('finished', 'failed'))                     AS end_status,
         bool_or(type = 'progress')                                                  AS progressed,
         bool_or(type = 'truncated')                                                 AS truncated,
         max(completed)                                                              AS completed,
         -- The total after the last version: one number of both, with the total in its lower half.
         (max(version::bigint << 32 | total) & 4294967295)::integer                  AS total,
         min(happened_at) FILTER (WHERE type = 'queued') AT TIME ZONE 'UTC'          AS created_at,
         max(happened_at) AT TIME ZONE 'UTC'                                         AS updated_at,
         min(happened_at) FILTER (WHERE type IN ('finished', 'failed')) AT TIME ZONE 'UTC' AS completed_at
    FROM new_events
   GROUP BY stream_id
)
MERGE INTO batch_jobs AS job
USING folded AS new ON job.id = new.id

WHEN NOT MATCHED THEN
  INSERT (id, name, kind, status, total, completed, created_at, updated_at, completed_at, error, truncated,
          view_url, csv_url, variables, strategy, assignments_preview, results)
  VALUES (
    new.id,
    new.queued ->> 'name',
    coalesce(new.queued ->> 'kind', 'server'),
    CASE WHEN new.end_status IS NOT NULL THEN new.end_status WHEN new.progressed THEN 'running' ELSE 'queued' END,
    CASE WHEN new.total > 0 THEN greatest(new.total, new.completed) ELSE 0 END,
    CASE
      WHEN new.end_status = 'finished' AND NOT new.truncated AND new.total > 0 THEN greatest(new.total, new.completed)
      ELSE coalesce(new.completed, 0)
    END,
    new.created_at,
    new.updated_at,
    new.completed_at,
    new.failed ->> 'error',
    new.truncated,
    new.finished ->> 'view_url',
    new.finished ->> 'csv_url',
    coalesce(nullif(new.queued -> 'variables', 'null'), '[]'),
    nullif(new.queued -> 'strategy', 'null'),
    jsonb_path_query_array(nullif(new.queued -> 'assignments_preview', 'null'), '$[0 to 24]'),
    nullif(coalesce(new.finished, new.failed) -> 'results', 'null')
  )

WHEN MATCHED THEN
  UPDATE SET
    status       = CASE
                     WHEN new.end_status IS NOT NULL THEN new.end_status
                     WHEN new.progressed THEN 'running'
                     ELSE job.status
                   END,
    total        = CASE WHEN new.total > 0 THEN greatest(new.total, job.completed, new.completed) ELSE 0 END,
    completed    = CASE
                     WHEN new.end_status = 'finished' AND NOT (job.truncated OR new.truncated) AND new.total > 0
                       THEN greatest(new.total, job.completed, new.completed)
                     ELSE greatest(job.completed, new.completed)
                   END,
    updated_at   = greatest(job.updated_at, new.updated_at),
    completed_at = new.completed_at,
    error        = new.failed ->> 'error',
    truncated    = job.truncated OR new.truncated,
    view_url     = new.finished ->> 'view_url',
    csv_url      = new.finished ->> 'csv_url',
    results      = nullif(coalesce(new.finished, new.failed) -> 'results', 'null');
