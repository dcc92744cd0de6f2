-- A job changes its state at most three times: it is queued, its first progress begins, it ends.
-- Nothing is joined: what is known of a job is looked up by itself, and so are the last counts.

WITH job AS (
  SELECT stream_id AS id,
         min(position) FILTER (WHERE type = 'queued')                      AS queued_at,
         min(position) FILTER (WHERE type = 'progress')                    AS progress_at,
         min(position) FILTER (WHERE type IN ('finished', 'failed'))       AS ended_at,
         bool_or(type = 'finished')                                        AS is_finished
    FROM new_events
   GROUP BY stream_id
),
known AS (
  SELECT job.*,
         coalesce((SELECT is_running FROM job_counts_open AS open WHERE open.id = job.id), false) AS was_running
    FROM job
  OFFSET 0  -- looks a job up once, and not wherever it is used
),
step (position, queued, running, finished, failed) AS (
  SELECT queued_at, 1, 0, 0, 0 FROM known WHERE queued_at IS NOT NULL
  UNION ALL
  SELECT progress_at, -1, 1, 0, 0 FROM known WHERE progress_at IS NOT NULL AND NOT was_running
  UNION ALL
  SELECT ended_at,
         CASE WHEN was_running OR progress_at IS NOT NULL THEN 0 ELSE -1 END,
         CASE WHEN was_running OR progress_at IS NOT NULL THEN -1 ELSE 0 END,
         is_finished::integer,
         1 - is_finished::integer
    FROM known
   WHERE ended_at IS NOT NULL
)
INSERT INTO job_counts (position, queued, running, finished, failed)
SELECT position,
       sum(queued)   OVER so_far + coalesce((SELECT queued   FROM job_counts ORDER BY position DESC LIMIT 1), 0),
       sum(running)  OVER so_far + coalesce((SELECT running  FROM job_counts ORDER BY position DESC LIMIT 1), 0),
       sum(finished) OVER so_far + coalesce((SELECT finished FROM job_counts ORDER BY position DESC LIMIT 1), 0),
       sum(failed)   OVER so_far + coalesce((SELECT failed   FROM job_counts ORDER BY position DESC LIMIT 1), 0)
  FROM step
WINDOW so_far AS (ORDER BY position);

-- A job that is queued and over within one window was never open.
INSERT INTO job_counts_open (id, is_running)
SELECT stream_id, bool_or(type = 'progress')
  FROM new_events
 GROUP BY stream_id
HAVING bool_or(type = 'queued') AND NOT bool_or(type IN ('finished', 'failed'));

UPDATE job_counts_open
   SET is_running = true
 WHERE NOT is_running
   AND id = ANY (ARRAY(SELECT stream_id FROM new_events WHERE type = 'progress'));

DELETE FROM job_counts_open
 WHERE id = ANY (ARRAY(SELECT stream_id FROM new_events WHERE type IN ('finished', 'failed')));
