-- One row per event: who did what, when, why and from where. It has the indexes for an auditor's
-- questions, so that the log needs no further ones. Questions for which the log has an index, those
-- by an event's id or a stream, go to the log.

CREATE TABLE audit_log (
  position       bigint       NOT NULL,
  event_id       uuid         NOT NULL,

  actor          text         COLLATE "C",    -- who, according to the appender
  category       varchar(50)  COLLATE "C" NOT NULL,
  stream_id      varchar(255) NOT NULL,       -- what: a job, or a stream of another category
  version        integer      NOT NULL,
  type           varchar(63)  COLLATE "C" NOT NULL,

  recorded_at    timestamptz  NOT NULL,       -- when, by the ledger's clock
  occurred_at    timestamptz,                 -- and by the caller's, if given

  correlation_id text         COLLATE "C",    -- why: what the event belongs to
  causation_id   text         COLLATE "C",    -- and what caused it: the id of an event, or one from outside
  source         text,                        -- from where

  words          tsvector,                    -- the words that can be searched for: see README.md

  CONSTRAINT audit_log_pkey PRIMARY KEY (position)
);

-- Each index ends in the position, so that the newest events of a kind are found without sorting.
-- Most events are progress of jobs, and need no index to be found. Nor do jobs as a whole.
CREATE INDEX audit_log_by_actor ON audit_log (actor, position) WHERE actor IS NOT NULL;
CREATE INDEX audit_log_by_actor_and_type ON audit_log (actor, category, type, position)
  WHERE actor IS NOT NULL AND (type <> 'progress' OR category <> 'job');
CREATE INDEX audit_log_by_actor_and_category ON audit_log (actor, category, position)
  WHERE actor IS NOT NULL AND category <> 'job';
CREATE INDEX audit_log_by_type ON audit_log (category, type, position) WHERE type <> 'progress' OR category <> 'job';
CREATE INDEX audit_log_by_category ON audit_log (category, position) WHERE category <> 'job';
CREATE INDEX audit_log_by_correlation ON audit_log (correlation_id, position) WHERE correlation_id IS NOT NULL;
CREATE INDEX audit_log_by_causation ON audit_log (causation_id, position) WHERE causation_id IS NOT NULL;
CREATE INDEX audit_log_by_words ON audit_log USING gin (words) WHERE words IS NOT NULL;
