-- What readers of the log keep: how far they are, and who of several is at work.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The last position that a reader has processed.
CREATE TABLE checkpoints (
  reader     text        NOT NULL,
  position   bigint      NOT NULL DEFAULT 0,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT checkpoints_pkey                  PRIMARY KEY (reader),
  CONSTRAINT checkpoints_position_not_negative CHECK (position >= 0)
);

-- Where each projection stands.
CREATE TABLE projections (
  name            text        NOT NULL,
  definition      text        NOT NULL,  -- the hash of the SQL that made its tables
  position        bigint      NOT NULL DEFAULT 0,
  state           text        NOT NULL DEFAULT 'running',
  failed_position bigint,                -- the event that stopped it
  error           text,
  updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT projections_pkey                  PRIMARY KEY (name),
  CONSTRAINT projections_position_not_negative CHECK (position >= 0),
  CONSTRAINT projections_state                 CHECK (state IN ('running', 'stopped')),
  CONSTRAINT projections_stopped_for_a_reason  CHECK ((state = 'stopped') = (error IS NOT NULL))
);

-- Moves a reader on from the position it knows of. False where it is not there (any more): somebody else has moved it.
CREATE FUNCTION advance_checkpoint(of_reader text, from_position bigint, to_position bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE checkpoints SET position = to_position, updated_at = clock_timestamp()
   WHERE reader = of_reader AND position = from_position;
  RETURN found;
END
$$;

-- Who is at work. A lease is renewed well before it runs out and can be taken over once it has, so a killed holder
-- is replaced within seconds, whether or not its connection was noticed to be gone. It is a courtesy that keeps two
-- from doing the same work; what makes double work harmless is the compare-and-swap on the checkpoint.
CREATE TABLE leases (
  name       text        NOT NULL,
  holder     text        NOT NULL,
  fence      bigint      NOT NULL DEFAULT 1,  -- rises with every change of holder
  expires_at timestamptz NOT NULL,

  CONSTRAINT leases_pkey PRIMARY KEY (name)
);

-- Takes a lease that is free, run out, or ours. Returns its fence, or null while another holds it.
CREATE FUNCTION take_lease(lease text, by_holder text, duration interval) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO leases AS held (name, holder, expires_at)
  VALUES (lease, by_holder, clock_timestamp() + duration)
  ON CONFLICT (name) DO UPDATE
     SET holder = excluded.holder,
         fence = held.fence + (held.holder <> excluded.holder)::integer,
         expires_at = excluded.expires_at
   WHERE held.expires_at < clock_timestamp() OR held.holder = excluded.holder
  RETURNING fence;
END;

CREATE FUNCTION release_lease(lease text, by_holder text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE leases SET expires_at = '-infinity' WHERE name = lease AND holder = by_holder;
END;

-- The window of events that a projection folds: what apply.sql reads. The engine sets its bounds for each transaction.
CREATE VIEW new_events AS
  SELECT position, event_id, category, stream_id, version, type, data, metadata, occurred_at, recorded_at, total,
         coalesce(occurred_at, recorded_at) AS happened_at
    FROM events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
     AND type = ANY (string_to_array(current_setting('jobledger.window_types'), ','));

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM projections) THEN
    RAISE EXCEPTION 'there are projections: their tables would be left without a checkpoint'
      USING HINT = 'Drop their tables and rows first.';
  END IF;
END
$$;
DROP VIEW new_events;
DROP FUNCTION release_lease(text, text);
DROP FUNCTION take_lease(text, text, interval);
DROP TABLE leases;
DROP FUNCTION advance_checkpoint(text, bigint, bigint);
DROP TABLE projections;
DROP TABLE checkpoints;
