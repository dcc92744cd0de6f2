-- How a reader waits for what comes.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Returns the head as soon as it is beyond a position, and after some patience in any case. It looks where the index
-- ends: once a millisecond, that costs about a hundredth of one core, and appenders nothing. NOTIFY would cost them dearly, for it
-- serialises all commits of the database. The patience should be short: for as long as it waits, vacuum keeps what has died since.
CREATE FUNCTION await_events(after bigint, patience interval, every interval DEFAULT '1 ms') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + least(patience, '10 s');
  head              bigint;
BEGIN
  LOOP
    -- Each look is a statement of a volatile function, and so sees what has been committed meanwhile.
    SELECT e.position INTO head FROM events AS e ORDER BY e.position DESC LIMIT 1;
    EXIT WHEN head > after OR clock_timestamp() >= deadline;
    PERFORM pg_sleep_for(every);
  END LOOP;
  RETURN coalesce(head, 0);
END
$$;

REVOKE ALL ON FUNCTION await_events(bigint, interval, interval) FROM PUBLIC;
DO $$
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION await_events(bigint, interval, interval) TO %I', current_schema() || '_reader');
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION await_events(bigint, interval, interval);
