-- Folds the parts of jobs that prepare.sql made. Status, total and completed are folded as in
-- batch_jobs; the other columns are positions and times of single events.
--
-- All three tables are written by one statement, so the marks see the rows of job_list as they were
-- before.

WITH part AS (
  SELECT * FROM prepared
),
marks AS (
  INSERT INTO job_list_marks (id, version, position, completed, updated_at)
  SELECT marked.id, (part + 1) * 32, marked_position,
         coalesce(greatest(before.completed, marked.completed), 0),
         greatest(before.updated_at, marked.updated_at)
    FROM (
      SELECT id, part, marked_position,
             max(completed) OVER so_far AS completed,
             max(updated_at) OVER so_far AS updated_at
        FROM part
      WINDOW so_far AS (PARTITION BY id ORDER BY part)
    ) AS marked
    LEFT JOIN LATERAL (SELECT completed, updated_at FROM job_list WHERE job_list.id = marked.id OFFSET 0) AS before
      ON true
   WHERE marked_position IS NOT NULL
),
folded AS (
  SELECT id,
         min(queued)::jsonb                                  AS queued,
         min(metadata)::jsonb                                AS metadata,
         min(view_url)                                       AS view_url,
         min(csv_url)                                        AS csv_url,
         min(error)                                          AS error,
         max(end_status)                                     AS end_status,
         max(completed)                                      AS completed,
         (max(version_and_total) & 4294967295)::integer      AS total,
         min(created_at)                                     AS created_at,
         min(started)                                        AS started,
         max(updated_at)                                     AS updated_at,
         min(completed_at)                                   AS completed_at,
         min(queued_position)                                AS queued_position,
         min(truncated_position)                             AS truncated_position,
         min(ended_position)                                 AS ended_position,
         max(last_position)                                  AS last_position,
         (max(version_and_total) >> 32)::integer             AS last_version,
         max(last_recorded_at)                               AS last_recorded_at
    FROM part
   GROUP BY id
),
labels AS (
  INSERT INTO job_list_labels (id, variables, metadata)
  SELECT id, coalesce(nullif(queued -> 'variables', 'null'), '[]'), metadata
    FROM folded
   WHERE queued_position IS NOT NULL
),
new AS (
  SELECT folded.*,
         started[1] AS started_position,
         -- Seconds and microseconds apart, because a double has not the digits of both.
         timestamp '1970-01-01' + started[2] / 1000000 * interval '1 second'
                                + started[2] % 1000000 * interval '1 microsecond' AS started_at
    FROM folded
)
MERGE INTO job_list AS job
USING new ON job.id = new.id

WHEN NOT MATCHED THEN
  INSERT (id, name, kind, actor, status, total, completed, created_at, started_at, updated_at, completed_at,
          queued_position, started_position, truncated_position, ended_position, last_position, last_version,
          last_recorded_at, error, view_url, csv_url)
  VALUES (
    new.id,
    new.queued ->> 'name',
    coalesce(new.queued ->> 'kind', 'server'),
    new.metadata ->> 'actor',
    CASE
      WHEN new.end_status IS NOT NULL THEN new.end_status
      WHEN new.started_position IS NOT NULL THEN 'running'
      ELSE 'queued'
    END,
    CASE WHEN new.total > 0 THEN greatest(new.total, new.completed) ELSE 0 END,
    CASE
      WHEN new.end_status = 'finished' AND new.truncated_position IS NULL AND new.total > 0
        THEN greatest(new.total, new.completed)
      ELSE coalesce(new.completed, 0)
    END,
    new.created_at,
    new.started_at,
    new.updated_at,
    new.completed_at,
    new.queued_position,
    new.started_position,
    new.truncated_position,
    new.ended_position,
    new.last_position,
    new.last_version,
    new.last_recorded_at,
    new.error,
    new.view_url,
    new.csv_url
  )

WHEN MATCHED THEN
  UPDATE SET
    status             = CASE
                           WHEN new.end_status IS NOT NULL THEN new.end_status
                           WHEN new.started_position IS NOT NULL THEN 'running'
                           ELSE job.status
                         END,
    total              = CASE WHEN new.total > 0 THEN greatest(new.total, job.completed, new.completed) ELSE 0 END,
    completed          = CASE
                           WHEN new.end_status = 'finished' AND new.total > 0
                                AND job.truncated_position IS NULL AND new.truncated_position IS NULL
                             THEN greatest(new.total, job.completed, new.completed)
                           ELSE greatest(job.completed, new.completed)
                         END,
    started_at         = CASE WHEN job.started_position IS NULL THEN new.started_at ELSE job.started_at END,
    updated_at         = greatest(job.updated_at, new.updated_at),
    completed_at       = new.completed_at,
    started_position   = coalesce(job.started_position, new.started_position),
    truncated_position = coalesce(job.truncated_position, new.truncated_position),
    ended_position     = new.ended_position,
    last_position      = new.last_position,
    last_version       = new.last_version,
    last_recorded_at   = new.last_recorded_at,
    error              = new.error,
    view_url           = new.view_url,
    csv_url            = new.csv_url;
