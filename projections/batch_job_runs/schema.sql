-- One row per run, for queries over single runs. The columns are those of the platform's schema
-- design. The design's foreign key to batch_jobs is left out: projections are folded and rebuilt
-- independently, so either may be ahead of the other.

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
