-- One row a run, for queries over single runs. The columns are those of the platform's schema design, but for the foreign
-- key to batch_jobs: each projection is folded and rebuilt on its own, so at any moment one may be ahead of the other.

CREATE TABLE batch_job_runs (
  id           serial       NOT NULL,
  batch_job_id varchar(255) NOT NULL,
  run_index    integer      NOT NULL,
  variables    jsonb        NOT NULL,
  metrics      jsonb        NOT NULL,
  created_at   timestamp    NOT NULL DEFAULT CURRENT_TIMESTAMP,

  CONSTRAINT batch_job_runs_pkey PRIMARY KEY (id),
  CONSTRAINT batch_job_runs_batch_job_id_run_index_key UNIQUE (batch_job_id, run_index)
);

CREATE INDEX idx_batch_job_runs_job_id ON batch_job_runs (batch_job_id);

-- A job has a hundred runs, as far as the planner is concerned, whatever the last ANALYZE found: where all jobs had one, it would take a run of
-- the next to be found by the job alone, and walk its hundred thousand others.
ALTER TABLE batch_job_runs ALTER COLUMN batch_job_id SET (n_distinct = -0.01);
