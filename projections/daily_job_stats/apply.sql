-- Counts new_events by the day on which they happened, and adds the counts to those of that day.
-- Sums of integers do not depend on how they are grouped, so windows and order do not matter.

INSERT INTO daily_job_stats AS stats (day, queued, finished, failed, truncations, reports, runs_queued, runs_finished)
SELECT (happened_at AT TIME ZONE 'UTC')::date,
       count(*) FILTER (WHERE type = 'queued'),
       count(*) FILTER (WHERE type = 'finished'),
       count(*) FILTER (WHERE type = 'failed'),
       count(*) FILTER (WHERE type = 'truncated'),
       count(*) FILTER (WHERE type = 'progress'),
       coalesce(sum(total) FILTER (WHERE type = 'queued'), 0),
       coalesce(sum(total) FILTER (WHERE type = 'finished'), 0)
  FROM new_events
 GROUP BY 1
ON CONFLICT (day) DO UPDATE
   SET queued        = stats.queued + excluded.queued,
       finished      = stats.finished + excluded.finished,
       failed        = stats.failed + excluded.failed,
       truncations   = stats.truncations + excluded.truncations,
       reports       = stats.reports + excluded.reports,
       runs_queued   = stats.runs_queued + excluded.runs_queued,
       runs_finished = stats.runs_finished + excluded.runs_finished;
