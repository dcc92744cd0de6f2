-- A retry is as durable as the first attempt. Where the server waits for standbys, the commit of
-- an append waits until they have its WAL. A retry whose events are all in the log writes no WAL,
-- so its commit would not wait: it would answer at once for an event that no standby has yet,
-- because the first attempt's wait was cancelled or its session ended.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Makes the commit of this transaction wait for the standbys, if the server waits for any: the
-- message is WAL behind that of all events that are visible now. Nobody reads it.
CREATE FUNCTION await_standbys() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('synchronous_standby_names') <> ''
    AND current_setting('synchronous_commit') NOT IN ('local', 'off')
  THEN
    PERFORM pg_catalog.pg_logical_emit_message(true, 'jobledger', '');
  END IF;
END
$$;

-- As before, and an event that is in the log already makes the commit wait.
CREATE OR REPLACE FUNCTION find_repeated(
  INOUT compared bigint, logged_position bigint, answered append_answer,
  jobs text[], types text[], data text[], metadata text[], occurred_ats timestamptz[],
  job text, type text, content text, context text, occurred_at timestamptz,
  OUT problem text, OUT at_position bigint, OUT at_version integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  most_compared CONSTANT bigint := 64 * 1024 * 1024;
  a_category text;
  a_job      text;
  a_type     text;
  a_content  text;
  a_context  text;
  a_moment   timestamptz;
  parts      text;
BEGIN
  IF logged_position IS NOT NULL THEN
    PERFORM await_standbys();
    SELECT e.category, e.stream_id, e.type, e.data::text, e.metadata::text, e.occurred_at, e.position, e.version
      INTO a_category, a_job, a_type, a_content, a_context, a_moment, at_position, at_version
      FROM events AS e WHERE e.position = logged_position;
  ELSE
    a_category := 'job';
    a_job := jobs[answered.ordinal];
    a_type := types[answered.ordinal];
    a_content := data[answered.ordinal];
    a_context := coalesce(metadata[answered.ordinal], '{}');
    a_moment := occurred_ats[answered.ordinal];
    at_position := answered.position;
    at_version := answered.version;
  END IF;
  compared := compared + bytes_to_compare(a_content, content) + bytes_to_compare(a_context, context);
  IF compared > most_compared THEN
    RAISE EXCEPTION 'this call repeats event ids with other content, and to compare it takes more than % MiB',
                    most_compared >> 20
      USING ERRCODE = 'program_limit_exceeded',
            HINT = 'Nothing was written. Send fewer of these events in a call: each has an id of its own, or is '
                   'a retry and the same again.';
  END IF;
  parts := concat_ws(', ', CASE WHEN a_category <> 'job' THEN 'category' END,
                     nullif(differing_parts(a_job, job, a_type, type, a_content, content, a_context, context,
                                            a_moment, occurred_at), ''));
  problem := CASE
    WHEN parts = '' THEN null
    WHEN logged_position IS NOT NULL
      THEN format('is at position %s already, with other %s: a retry sends the same event again, and a new event '
                  'has an id of its own',
                  at_position, parts)
    ELSE format('stands in this call already, with other %s: each event has an id of its own', parts)
  END;
END
$$;

REVOKE ALL ON FUNCTION await_standbys() FROM PUBLIC;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE OR REPLACE FUNCTION find_repeated(
  INOUT compared bigint, logged_position bigint, answered append_answer,
  jobs text[], types text[], data text[], metadata text[], occurred_ats timestamptz[],
  job text, type text, content text, context text, occurred_at timestamptz,
  OUT problem text, OUT at_position bigint, OUT at_version integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  most_compared CONSTANT bigint := 64 * 1024 * 1024;
  a_category text;
  a_job      text;
  a_type     text;
  a_content  text;
  a_context  text;
  a_moment   timestamptz;
  parts      text;
BEGIN
  IF logged_position IS NOT NULL THEN
    SELECT e.category, e.stream_id, e.type, e.data::text, e.metadata::text, e.occurred_at, e.position, e.version
      INTO a_category, a_job, a_type, a_content, a_context, a_moment, at_position, at_version
      FROM events AS e WHERE e.position = logged_position;
  ELSE
    a_category := 'job';
    a_job := jobs[answered.ordinal];
    a_type := types[answered.ordinal];
    a_content := data[answered.ordinal];
    a_context := coalesce(metadata[answered.ordinal], '{}');
    a_moment := occurred_ats[answered.ordinal];
    at_position := answered.position;
    at_version := answered.version;
  END IF;
  compared := compared + bytes_to_compare(a_content, content) + bytes_to_compare(a_context, context);
  IF compared > most_compared THEN
    RAISE EXCEPTION 'this call repeats event ids with other content, and to compare it takes more than % MiB',
                    most_compared >> 20
      USING ERRCODE = 'program_limit_exceeded',
            HINT = 'Nothing was written. Send fewer of these events in a call: each has an id of its own, or is '
                   'a retry and the same again.';
  END IF;
  parts := concat_ws(', ', CASE WHEN a_category <> 'job' THEN 'category' END,
                     nullif(differing_parts(a_job, job, a_type, type, a_content, content, a_context, context,
                                            a_moment, occurred_at), ''));
  problem := CASE
    WHEN parts = '' THEN null
    WHEN logged_position IS NOT NULL
      THEN format('is at position %s already, with other %s: a retry sends the same event again, and a new event '
                  'has an id of its own',
                  at_position, parts)
    ELSE format('stands in this call already, with other %s: each event has an id of its own', parts)
  END;
END
$$;

DROP FUNCTION await_standbys();
