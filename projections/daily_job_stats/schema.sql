-- One row a day, in UTC: what happened on it.

CREATE TABLE daily_job_stats (
  day            date    NOT NULL,

  queued         bigint  NOT NULL,  -- jobs
  finished       bigint  NOT NULL,
  failed         bigint  NOT NULL,
  truncations    bigint  NOT NULL,  -- a job may be cut down more than once
  reports        bigint  NOT NULL,  -- of progress

  runs_queued    bigint  NOT NULL,  -- how many runs the day's queued jobs asked for
  runs_finished  bigint  NOT NULL,  -- and how many those that finished on it had been asked for

  CONSTRAINT daily_job_stats_pkey PRIMARY KEY (day)
);
