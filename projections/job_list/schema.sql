-- What a list of jobs needs, at any position: one row per job with the positions at which its state
-- changed. Whether it was queued, running or over at a position follows from these, and they have
-- the indexes. Timestamps have no zone: they are in UTC.

CREATE TABLE job_list (
  id                 varchar(255) NOT NULL,

  name               varchar(500) COLLATE "C" NOT NULL,
  kind               varchar(50)  COLLATE "C" NOT NULL,
  actor              text         COLLATE "C",            -- who queued it, according to the appender
  status             varchar(50)  COLLATE "C" NOT NULL,   -- 'queued', 'running', 'finished', 'failed'

  total              integer      NOT NULL,
  completed          integer      NOT NULL,

  created_at         timestamp    NOT NULL,
  started_at         timestamp,
  updated_at         timestamp    NOT NULL,
  completed_at       timestamp,

  queued_position    bigint       NOT NULL,
  started_position   bigint,                              -- of the first progress
  truncated_position bigint,                              -- of the first truncated
  ended_position     bigint,

  last_position      bigint       NOT NULL,               -- of the latest event
  last_version       integer      NOT NULL,
  last_recorded_at   timestamp    NOT NULL,

  error              text,
  view_url           varchar(500),
  csv_url            varchar(500),

  CONSTRAINT job_list_pkey PRIMARY KEY (id)
) WITH (fillfactor = 60);  -- free space, so that progress is updated in place, without touching an index

-- For each order of a list. Each ends in a position, so that pages can go on from a job.
CREATE INDEX job_list_by_queued ON job_list (queued_position);
CREATE INDEX job_list_by_started ON job_list (started_position) WHERE started_position IS NOT NULL;
CREATE INDEX job_list_not_started ON job_list (queued_position) WHERE started_position IS NULL;
CREATE INDEX job_list_by_ended ON job_list (ended_position) WHERE ended_position IS NOT NULL;
CREATE INDEX job_list_by_name ON job_list (name, queued_position);
CREATE INDEX job_list_by_took ON job_list ((completed_at - coalesce(started_at, created_at)), queued_position)
  WHERE ended_position IS NOT NULL;

-- For each condition, with the positions by which a list is sorted unless it says otherwise. Of an
-- actor's name, which may be longer than an index entry can be, the first 200 characters count.
CREATE INDEX job_list_by_status ON job_list (status, queued_position);
CREATE INDEX job_list_by_actor ON job_list (left(actor, 200), queued_position) WHERE actor IS NOT NULL;
CREATE INDEX job_list_by_created ON job_list (created_at);
CREATE INDEX job_list_truncated ON job_list (queued_position) WHERE truncated_position IS NOT NULL;
CREATE INDEX job_list_local ON job_list (queued_position) WHERE kind = 'local';

-- Which jobs were queued, and which were running, at a position.
CREATE INDEX job_list_while_queued ON job_list
  USING gist (int8range(queued_position, coalesce(started_position, ended_position)));
CREATE INDEX job_list_while_running ON job_list
  USING gist (int8range(started_position, ended_position)) WHERE started_position IS NOT NULL;

-- What a job was given when it was queued. It never changes, and may be large, so it is apart from
-- what each progress writes anew.
CREATE TABLE job_list_labels (
  id        varchar(255) NOT NULL,

  variables jsonb        NOT NULL,
  metadata  jsonb        NOT NULL,

  CONSTRAINT job_list_labels_pkey PRIMARY KEY (id)
);

CREATE INDEX job_list_labels_by_variables ON job_list_labels USING gin (variables jsonb_path_ops);
CREATE INDEX job_list_labels_by_metadata ON job_list_labels USING gin (metadata jsonb_path_ops);

-- Each 32 events of a job, what was the highest so far. The past of a job is read from the last of
-- these on, however many events there are before it.
CREATE TABLE job_list_marks (
  id         varchar(255) NOT NULL,
  version    integer      NOT NULL,
  position   bigint       NOT NULL,  -- of the event with that version

  completed  integer      NOT NULL,
  updated_at timestamp    NOT NULL,

  CONSTRAINT job_list_marks_pkey PRIMARY KEY (id, position)
);
