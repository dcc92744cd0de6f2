-- How many jobs there were in each state, after each position at which a job changed its state. The
-- counts at any position are those of the last row up to it.

CREATE TABLE job_counts (
  position bigint NOT NULL,

  queued   bigint NOT NULL,
  running  bigint NOT NULL,
  finished bigint NOT NULL,
  failed   bigint NOT NULL,

  CONSTRAINT job_counts_pkey PRIMARY KEY (position)
);

-- The jobs that have not ended: whether the next progress of each is its first.
CREATE TABLE job_counts_open (
  id         varchar(255) NOT NULL,
  is_running boolean      NOT NULL,

  CONSTRAINT job_counts_open_pkey PRIMARY KEY (id)
);
