-- A checkpoint is never beyond the log. A reader with two connections may have read on one server
-- and keep its place on another: behind a proxy, two servers may be up for a moment. Its checkpoint
-- would then name events that are not there, and it would never see those that come under the same
-- positions.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Moves a reader on from the position that it knows. Returns false where the reader is elsewhere,
-- because another process has moved it.
CREATE OR REPLACE FUNCTION advance_checkpoint(of_reader text, from_position bigint, to_position bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF to_position > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', to_position, head()
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'The reader has read another log, or the same on another server. Connect anew.';
  END IF;
  UPDATE checkpoints SET position = to_position, updated_at = clock_timestamp()
   WHERE reader = of_reader AND position = from_position;
  RETURN found;
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE OR REPLACE FUNCTION advance_checkpoint(of_reader text, from_position bigint, to_position bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE checkpoints SET position = to_position, updated_at = clock_timestamp()
   WHERE reader = of_reader AND position = from_position;
  RETURN found;
END
$$;
