-- One row per job: its metadata, its progress and its results. The columns, their types and
-- defaults, and the indexes are those of the platform's schema design. Timestamps have no zone:
-- they are in UTC.

CREATE TABLE batch_jobs (
  id                  varchar(255) NOT NULL,

  name                varchar(500) NOT NULL,
  kind                varchar(50)  NOT NULL DEFAULT 'server',  -- 'server' or 'local'
  status              varchar(50)  NOT NULL,                   -- 'queued', 'running', 'finished', 'failed'

  total               integer      NOT NULL DEFAULT 0,
  completed           integer      NOT NULL DEFAULT 0,

  created_at          timestamp    NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at          timestamp    NOT NULL DEFAULT CURRENT_TIMESTAMP,
  completed_at        timestamp,

  error               text,
  truncated           boolean      NOT NULL DEFAULT false,

  view_url            varchar(500),
  csv_url             varchar(500),

  variables           jsonb        NOT NULL DEFAULT '[]',      -- [{"name": "ticker", "values": ["SPY"], "count": 1}]
  strategy            jsonb,                                   -- the base strategy, before variables are substituted
  assignments_preview jsonb,                                   -- the first 25 assignments
  results             jsonb,                                   -- {"summary": {…}, "runs": […]}

  CONSTRAINT batch_jobs_pkey PRIMARY KEY (id),
  CONSTRAINT batch_jobs_completed_within_total CHECK (completed <= total OR total = 0)  -- 0: not known
) WITH (fillfactor = 60);  -- free space, so that progress is updated in place, without touching an index

CREATE INDEX idx_batch_jobs_status ON batch_jobs (status);
CREATE INDEX idx_batch_jobs_created_at ON batch_jobs (created_at DESC);
CREATE INDEX idx_batch_jobs_kind ON batch_jobs (kind);
