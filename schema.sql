-- The definitions of a fresh ledger, as Postgres 15 has them. Made by `make schema`: do not edit.
--
-- Names are unqualified: they are the ledger's schema's. Everything belongs to the role jobledger_owner,
-- and nothing is granted to PUBLIC. The rights of the other roles are at the end.

-- =================================================================================================
-- The log: every event of every job, in one gapless order.
--
-- All names in these files are unqualified. They belong to the ledger's own schema, which the
-- runner of migrations puts first in search_path (with dbmate: add ?search_path=NAME to the URL).
-- Functions keep that schema by SET search_path FROM CURRENT.
-- =================================================================================================

CREATE FUNCTION longest_stream_id() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 255;

-- A job's id is printed in logs, URLs and terminals, so control characters are refused.
CREATE FUNCTION is_stream_id(id text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN length(id) BETWEEN 1 AND longest_stream_id() AND id !~ '[\x01-\x1f\x7f]';

CREATE FUNCTION is_event_type(type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN type IN ('queued', 'progress', 'truncated', 'finished', 'failed');

-- The years that every reader can represent: RFC 3339 has four digits.
CREATE FUNCTION is_event_time(moment timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN moment BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00';

-- What a single value may be is checked by its type. Postgres parses a table's CHECK again for each
-- statement that inserts, which for one event takes as long as writing it; it prepares a domain's
-- check once a session.
--
-- Positions end at 2^62 - 1, so that adding one, or adding two of them, never overflows.
CREATE DOMAIN event_position AS bigint
    CONSTRAINT event_position_countable CHECK ((VALUE < '4611686018427387904'::bigint))
    CONSTRAINT event_position_positive CHECK ((VALUE > 0));

CREATE DOMAIN event_version AS integer
    CONSTRAINT event_version_positive CHECK ((VALUE > 0));

CREATE DOMAIN run_count AS integer
    CONSTRAINT run_count_not_negative CHECK ((VALUE >= 0));

CREATE DOMAIN stream_name AS text COLLATE "C"
    CONSTRAINT stream_name_form CHECK (is_stream_id(VALUE));

CREATE DOMAIN event_type AS text COLLATE "C";
ALTER DOMAIN event_type
    ADD CONSTRAINT event_type_form CHECK (is_type_name(VALUE)) NOT VALID;

CREATE DOMAIN event_time AS timestamptz
    CONSTRAINT event_time_in_years CHECK (is_event_time(VALUE));

-- Facts about the ledger as a whole, in one row. A restored or re-created ledger gets another
-- epoch, by which readers tell it from the one they knew.
CREATE TABLE ledger (
    only_one boolean DEFAULT true NOT NULL,
    epoch uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    durability text DEFAULT 'local' NOT NULL,
    CONSTRAINT ledger_durability_known CHECK ((durability = ANY (ARRAY['local', 'quorum']))),
    CONSTRAINT ledger_only_one CHECK (only_one)
);
ALTER TABLE ledger ADD CONSTRAINT ledger_pkey PRIMARY KEY (only_one);
CREATE TRIGGER ledger_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON ledger
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE ledger ENABLE ALWAYS TRIGGER ledger_not_prepared;
CREATE CONSTRAINT TRIGGER ledger_on_disk AFTER UPDATE ON ledger DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    EXECUTE FUNCTION refuse_commit_before_disk();
ALTER TABLE ledger ENABLE ALWAYS TRIGGER ledger_on_disk;

-- Ids and types are compared as bytes (collation C): faster than a language's order, and the same
-- on every machine.
CREATE TABLE events (
    position event_position NOT NULL,
    event_id uuid NOT NULL,
    category text DEFAULT 'job' NOT NULL COLLATE "C",
    stream_id stream_name NOT NULL,
    version event_version NOT NULL,
    type event_type NOT NULL,
    data json NOT NULL,
    metadata json DEFAULT '{}'::json NOT NULL,
    occurred_at event_time,
    recorded_at event_time NOT NULL,
    total run_count DEFAULT 0 NOT NULL,
    completed run_count
)
WITH (autovacuum_vacuum_insert_scale_factor='0.05', autovacuum_analyze_scale_factor='0.02');
ALTER TABLE events ADD CONSTRAINT events_event_id_key UNIQUE (event_id);
ALTER TABLE events
    ADD CONSTRAINT events_job_type CHECK (
CASE
    WHEN (category = 'job') THEN ((((type)::text = 'queued') = ((version)::integer = 1)) AND (((type)::text = 'progress') = (completed IS NOT NULL)) AND ((type)::text = ANY ('{queued,progress,truncated,finished,failed}'[])))
    ELSE (completed IS NULL)
END) NOT VALID;
ALTER TABLE events ADD CONSTRAINT events_pkey PRIMARY KEY (position);
ALTER TABLE events ADD CONSTRAINT events_stream_version_key UNIQUE (stream_id, category, version);
CREATE TRIGGER events_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON events
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_log();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;

-- Only append functions set jobledger.appending, for the time of their call. So even the owner
-- cannot bypass the rules by mistake. The condition is in the trigger, where it costs no function
-- call.
CREATE TRIGGER events_appended_only BEFORE INSERT ON events
    FOR EACH STATEMENT
    WHEN ((COALESCE(current_setting('jobledger.appending', true), 'off') <> ALL (ARRAY['on', 'noted'])))
    EXECUTE FUNCTION refuse_insert_past_append();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_appended_only;

-- Queued once a call, by its first event: the condition of events_on_disk, which comes after this
-- one in the alphabet, changes the setting.
CREATE CONSTRAINT TRIGGER events_at_quorum AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN ((current_setting('jobledger.appending', true) = 'on'))
    EXECUTE FUNCTION refuse_commit_before_quorum();

ALTER TABLE events DISABLE TRIGGER events_at_quorum;

-- Queued once a call, not once an event: the first event of a call sets jobledger.appending to
-- 'noted', which lasts until the append function returns.
CREATE CONSTRAINT TRIGGER events_on_disk AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (((current_setting('jobledger.appending', true) = 'on') AND (set_config('jobledger.appending', 'noted', true) = 'noted')))
    EXECUTE FUNCTION refuse_commit_before_disk();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_on_disk;

CREATE TRIGGER events_raise_durability BEFORE INSERT ON events
    FOR EACH STATEMENT
    WHEN (((current_setting('jobledger.confirms', true) IS DISTINCT FROM 'on') AND (current_setting('synchronous_commit') <> ALL (ARRAY['on', 'remote_apply']))))
    EXECUTE FUNCTION raise_durability();

ALTER TABLE events DISABLE TRIGGER events_raise_durability;

CREATE FUNCTION refuse_change_of_log() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  RAISE EXCEPTION '% of events refused: the log is append-only', TG_OP
    USING ERRCODE = 'restrict_violation', HINT = 'Append an event that says what changed.';
END
$$;

CREATE FUNCTION refuse_insert_past_append() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  RAISE EXCEPTION 'INSERT into events refused: events come in through append() or append_event()'
    USING ERRCODE = 'restrict_violation';
END
$$;

-- The last position, 0 while the log is empty.
CREATE FUNCTION head() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
RETURN coalesce((SELECT max(position) FROM events), 0);

-- The events of one stream, oldest first: of a job, unless another category is named.
CREATE FUNCTION history(job_id text, category text DEFAULT 'job') RETURNS SETOF events
LANGUAGE sql STABLE ROWS 100 SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT * FROM events AS e WHERE e.category = history.category AND e.stream_id = job_id ORDER BY e.version;
END;

-- The last position recorded at or before a moment, 0 where there is none. Positions have no gaps
-- and recorded_at never goes back, so a binary search finds it in a few probes of the primary key.
CREATE FUNCTION position_at(moment timestamptz) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  low    bigint := 0;
  high   bigint := head();
  middle bigint;
BEGIN
  WHILE low < high LOOP
    middle := (low + high + 1) / 2;
    IF (SELECT recorded_at FROM events WHERE position = middle) <= moment THEN
      low := middle;
    ELSE
      high := middle - 1;
    END IF;
  END LOOP;
  RETURN low;
END
$$;

-- Waits until the head is beyond a position, at most for `longest_wait` (10 s at most), and returns
-- the head. It looks at the end of the index each millisecond, which costs about a hundredth of a
-- core and costs appenders nothing. NOTIFY would serialise all commits of the database. Keep the
-- wait short: while it waits, vacuum cannot remove rows that have died since it began.
CREATE FUNCTION await_events(after bigint, longest_wait interval,
    every interval DEFAULT '00:00:00.001'::interval) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + greatest(least(longest_wait, '10 s'), '0');
  pause    CONSTANT interval    := greatest(least(every, '1 s'), '0');
  head              bigint;
BEGIN
  LOOP
    -- In a volatile function each statement has a snapshot of its own, and sees what was committed
    -- meanwhile.
    SELECT e.position INTO head FROM events AS e ORDER BY e.position DESC LIMIT 1;
    EXIT WHEN head > after OR clock_timestamp() >= deadline;
    PERFORM pg_sleep_for(pause);
  END LOOP;
  RETURN coalesce(head, 0);
END
$$;

-- Begins an epoch to which the events from `first_position` on belong already: of a ledger that was
-- restored, and to which others have appended before begin_epoch() was run.
CREATE FUNCTION begin_epoch() RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  begun uuid;
BEGIN
  -- A restore may also have changed the timeline. This epoch counts for both.
  PERFORM note_timeline();
  PERFORM lock_log();
  begun := unused_epoch();
  PERFORM add_epoch(begun, 'begun by begin_epoch()');
  RETURN begun;
END
$$;

-- Begins an epoch to which the events from `first_position` on belong already: of a ledger that was
-- restored, and to which others have appended before begin_epoch() was run.
CREATE FUNCTION begin_epoch(first_position bigint) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  begun uuid;
BEGIN
  PERFORM note_timeline();
  PERFORM lock_log();
  IF first_position IS NULL OR first_position NOT BETWEEN 1 AND head() + 1 THEN
    RAISE EXCEPTION 'an epoch begins at a position from 1 to %, the one behind the last', head() + 1
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the first position whose event readers may not have.';
  END IF;
  begun := unused_epoch();
  PERFORM add_epoch(begun, 'begun by begin_epoch()', first => first_position);
  RETURN begun;
END
$$;

-- Returns true while the ledger is in the expected epoch, and raises JL021 after it has begun
-- another.
CREATE FUNCTION expect_epoch(expected uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  here CONSTANT uuid := (SELECT epoch FROM ledger);
BEGIN
  IF here IS DISTINCT FROM expected THEN
    RAISE EXCEPTION 'the ledger has begun the epoch %', here
      USING ERRCODE = 'JL021', HINT = 'Read its epoch and its log anew.';
  END IF;
  RETURN true;
END
$$;

-- =================================================================================================
-- A position that was answered, or that anybody has seen, is never given to another event. So
-- events are on disk before others see them, whatever the appending session has set. And no
-- prepared transaction keeps a lock that others wait for: it would outlive its session, until
-- somebody remembers it.
-- =================================================================================================

-- Makes Postgres refuse PREPARE TRANSACTION for the transaction under way. It does so after LISTEN
-- and UNLISTEN, which take microseconds, leave nothing behind, and are undone only by rolling back
-- the caller. A background worker of the server can neither listen nor prepare.
CREATE FUNCTION forbid_prepare() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  LISTEN jobledger_is_not_to_be_prepared;
  UNLISTEN jobledger_is_not_to_be_prepared;
EXCEPTION WHEN feature_not_supported THEN
  RETURN;
END
$$;

-- Checks at the commit that synchronous_commit was not turned off after the append. It must be
-- deferred: an immediate constraint would be checked too early to tell.
CREATE FUNCTION refuse_commit_before_disk() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  -- One expression for what is hardly ever so: Postgres prepares each anew in each transaction.
  IF current_setting('synchronous_commit') = 'off' OR current_setting('jobledger.appending', true) = 'noted' THEN
    IF current_setting('synchronous_commit') = 'off' THEN
      RAISE EXCEPTION 'synchronous_commit was set to off in a transaction that appends: its positions could be '
                      'given twice'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Leave synchronous_commit as it is, or set it to local at least.';
    END IF;
    RAISE EXCEPTION 'the constraint % must be deferred in a transaction that appends', TG_NAME
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'SET CONSTRAINTS … IMMEDIATE after the append, or for your own constraints only.';
  END IF;
  RETURN null;
END
$$;

-- For the tables whose rows others wait for.
CREATE FUNCTION refuse_to_prepare_changes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  PERFORM forbid_prepare();
  RETURN null;
END
$$;

-- For the tables that are records: their rows are added and never changed.
CREATE FUNCTION refuse_change_of_record() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  RAISE EXCEPTION '% of % refused: it is a record, and only grows', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END
$$;

-- =================================================================================================
-- What one event must look like by itself, whatever the log holds. It is checked before the log is
-- locked.
-- =================================================================================================

-- Limits, in bytes.
CREATE FUNCTION longest_data() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 8 * 1024 * 1024;

CREATE FUNCTION longest_metadata() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 64 * 1024;

-- The largest count of runs: what an integer holds.
CREATE FUNCTION largest_count() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 2147483647;

-- A fresh UUID of version 7: the milliseconds since 1970 and then random bits. Ids made together
-- lie together in the index.
CREATE FUNCTION uuid_v7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
  set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            FROM 1 FOR 6),
    52, 1), 53, 1),
  'hex')::uuid;

-- Beyond the range of a double a number of ten characters can take 130,000 when it is written out.
CREATE FUNCTION has_number_out_of_range(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value @? '$.** ? (@.type() == "number" && (@.abs() > 1.8e308 || (@ != 0 && @.abs() < 4.9e-324)))';

-- Parsers differ in how deep they go. What is accepted here must not stop a reader.
CREATE FUNCTION is_nested_too_deep(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value @? '$.**{129}';

-- Parses a text as jsonb, or says why jsonb cannot hold it: \u0000, lone surrogates, numbers out of
-- range, broken syntax.
CREATE FUNCTION parse_json(source text, OUT value jsonb, OUT problem text) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
DECLARE
  too_deep     CONSTANT text := 'is nested more than 128 levels deep: flatten it, or write the inner part as a text';
  out_of_range CONSTANT text := 'holds a number that is out of the range of a double';
  detail       text;
BEGIN
  value := source::jsonb;
  IF source ~ '[eE][-+]?[0-9]{2}|[0-9]{200}' AND has_number_out_of_range(value) THEN
    problem := out_of_range || ': write it as a text';
  ELSIF length(source) > 256 AND is_nested_too_deep(value) THEN
    problem := too_deep;
  END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  problem := CASE
    WHEN source ~ '\A\s*\Z' THEN 'is empty: write {} where there is nothing to say'
    -- The server ran out of stack, or of digits: the same bounds, so the same words.
    WHEN sqlstate = '54001' THEN too_deep
    WHEN sqlstate = '22003' THEN out_of_range || ', or has thousands of digits: write it as a text'
    ELSE 'is not acceptable JSON: ' || rtrim(left(concat_ws(': ', sqlerrm, nullif(detail, '')), 500), '.')
         -- Python's json.dumps and others write these for floats that are not numbers.
         || CASE WHEN source ~ '(^|[:,\s\[])-?(NaN|Infinity)($|[,\s}\]])'
                 THEN '; NaN and Infinity are not JSON: write null instead' ELSE '' END
  END;
END
$_$;

-- Null where the value is missing.
CREATE FUNCTION is_count(value jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
  RETURN jsonb_typeof(value) = 'number' AND value::numeric BETWEEN 0 AND largest_count()
     AND value::numeric = trunc(value::numeric);
END
$$;

CREATE FUNCTION is_text(value jsonb, longest integer) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_typeof(value) = 'string' AND length(value #>> '{}') BETWEEN 1 AND longest;

-- Null where the value is missing. `type` is as jsonb_typeof() has it.
CREATE FUNCTION is_of_type(value jsonb, type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_typeof(nullif(value, 'null')) = type;

-- In characters.
CREATE FUNCTION longest_text(key text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE key
  WHEN 'name'     THEN 500
  WHEN 'view_url' THEN 500
  WHEN 'csv_url'  THEN 500
  WHEN 'reason'   THEN 10000
  WHEN 'error'    THEN 1000000
END;

-- The beginning of a value, to show it to whoever sent it.
CREATE FUNCTION excerpt(value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN length(value::text) > 60 THEN left(value::text, 60) || '…' ELSE value::text END;

-- What must stand where this value of a member was refused.
CREATE FUNCTION problem_with_member(key text, value jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
  wanted CONSTANT text := CASE
    WHEN longest_text(key) IS NOT NULL
      THEN format('a text of 1 to %s characters', longest_text(key))
    WHEN key IN ('total', 'completed', 'limit', 'dropped', 'run_index', 'count')
      THEN format('an integer from 0 to %s', largest_count())
    WHEN key = 'kind'                             THEN '"server" or "local"'
    WHEN key = 'message'                          THEN 'a text, in quotes'
    WHEN key IN ('values', 'assignments_preview') THEN 'an array'
    WHEN key = 'results'                          THEN 'an object {"summary": object, "runs": array}'
    ELSE 'an object'
  END;
BEGIN
  RETURN CASE
    WHEN nullif(value, 'null') IS NULL
      THEN format('"%s" is missing: it must be %s', key, wanted)
    WHEN longest_text(key) IS NULL
      THEN format('"%s" must be %s, not %s', key, wanted, excerpt(value))
    WHEN jsonb_typeof(value) <> 'string'
      THEN format('"%s" must be %s, in quotes, not %s', key, wanted, excerpt(value))
    WHEN value = '""'
      THEN format('"%s" is empty: it must be %s', key, wanted)
    ELSE format('"%s" has %s characters, and the limit is %s: cut it, and keep the whole elsewhere',
                key, length(value #>> '{}'), longest_text(key))
  END;
END
$$;

-- What is wrong with a list of runs, to be read right behind its name; null where nothing is.
CREATE FUNCTION problem_with_runs(runs jsonb, index_required boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  form  CONSTANT text := '{"run_index": integer, "variables": object, "metrics": object}, not ';

-- Also returns the product of the variables' counts, which is the default of a job's total. A
-- variable without a count has as many as it has values.
CREATE FUNCTION check_variables(variables jsonb, OUT problem text,
    OUT product numeric) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
  form CONSTANT text := '{"name": text, "values": array, "count": integer}, not ';
  variable jsonb;
  place    integer := 0;
  wrong    text;
BEGIN
  IF NOT is_of_type(variables, 'array') THEN
    problem := '"variables" must be an array of ' || form || excerpt(variables);
    RETURN;
  END IF;
  FOR variable IN SELECT value FROM jsonb_array_elements(variables) LOOP
    wrong := CASE
      WHEN jsonb_typeof(variable) <> 'object'                                                    THEN ''
      WHEN is_text(variable -> 'name', longest_text('name')) IS NOT TRUE                         THEN 'name'
      WHEN NOT is_of_type(variable -> 'values', 'array')                                         THEN 'values'
      WHEN NOT is_count(nullif(variable -> 'count', 'null'))                                     THEN 'count'
    END;
    IF wrong = '' THEN
      problem := format('"variables"[%s] must be an object ', place) || form || excerpt(variable);
      RETURN;
    ELSIF wrong IS NOT NULL THEN
      problem := format('"variables"[%s]: ', place) || problem_with_member(wrong, variable -> wrong);
      RETURN;
    END IF;
    -- Bounded, so that many large counts do not make a number of thousands of digits.
    product := least(coalesce(product, 1), 1e12) * coalesce(
      nullif(variable -> 'count', 'null')::numeric,
      jsonb_array_length(coalesce(nullif(variable -> 'values', 'null'), '[]')));
    place := place + 1;
  END LOOP;
END
$$;

-- Checks the data of an event.
--   total      the total that the event sets, null where it sets none
--   completed  how many runs a progress event says are done
CREATE FUNCTION check_data(type text, data jsonb, OUT problem text, OUT total integer,
    OUT completed integer) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $$
DECLARE
  wrong   text;
  product numeric;
BEGIN
  IF type IN ('queued', 'progress') AND data ? 'total' THEN
    IF NOT is_count(nullif(data -> 'total', 'null')) THEN
      problem := problem_with_member('total', data -> 'total');
      RETURN;
    END IF;
    total := nullif(data -> 'total', 'null')::integer;
  END IF;

  CASE type
    WHEN 'queued' THEN
      wrong := CASE
        WHEN is_text(data -> 'name', longest_text('name')) IS NOT TRUE               THEN 'name'
        WHEN nullif(data -> 'kind', 'null') NOT IN ('"server"', '"local"')           THEN 'kind'
        WHEN data ? 'variables'                                                      THEN 'variables'
        WHEN NOT is_of_type(data -> 'assignments_preview', 'array')                  THEN 'assignments_preview'
      END;
      IF wrong = 'variables' THEN
        SELECT checked.problem, checked.product INTO problem, product
          FROM check_variables(nullif(data -> 'variables', 'null')) AS checked;
        IF problem IS NULL AND total IS NULL AND product > largest_count() THEN
          problem := format('the product of the variables'' counts is above %s: say "total" beside them',
            largest_count());
        END IF;
        wrong := CASE WHEN NOT is_of_type(data -> 'assignments_preview', 'array') THEN 'assignments_preview' END;
      END IF;
      IF problem IS NULL AND wrong IS NULL THEN
        total := coalesce(total, product::integer, 0);
        RETURN;
      END IF;

    WHEN 'progress' THEN
      wrong := CASE
        WHEN is_count(data -> 'completed') IS NOT TRUE     THEN 'completed'
        WHEN NOT is_of_type(data -> 'message', 'string')   THEN 'message'
      END;
      IF wrong IS NULL THEN
        completed := (data -> 'completed')::integer;
        problem := '"runs"' || problem_with_runs(data -> 'runs', index_required => true);
      END IF;

    WHEN 'truncated' THEN
      wrong := CASE
        WHEN is_text(data -> 'reason', longest_text('reason')) IS NOT TRUE   THEN 'reason'
        WHEN NOT is_count(nullif(data -> 'limit', 'null'))                   THEN 'limit'
        WHEN NOT is_count(nullif(data -> 'dropped', 'null'))                 THEN 'dropped'
      END;

    WHEN 'finished', 'failed' THEN
      -- An address may be empty.
      wrong := CASE
        WHEN NOT is_of_type(data -> 'results', 'object')
          THEN 'results'
        WHEN type = 'failed' AND is_text(data -> 'error', longest_text('error')) IS NOT TRUE
          THEN 'error'
        WHEN type = 'finished' AND NOT is_text(nullif(nullif(data -> 'view_url', 'null'), '""'),
          longest_text('view_url'))
          THEN 'view_url'
        WHEN type = 'finished' AND NOT is_text(nullif(nullif(data -> 'csv_url', 'null'), '""'), longest_text('csv_url'))
          THEN 'csv_url'
      END;
      IF wrong IS NULL THEN
        problem := 'the "runs" of "results"' || problem_with_runs(data -> 'results' -> 'runs', index_required => false);
      END IF;
  END CASE;
  IF problem IS NULL AND wrong IS NOT NULL THEN
    problem := problem_with_member(wrong, data -> wrong);
  END IF;
END
$$;

-- Everything that can be wrong with one event, whatever the log holds. `code` and `message` are
-- null where nothing is.
CREATE FUNCTION check_event(category text, stream text, type text, data text, metadata text,
    occurred_at timestamptz, expected_version integer, OUT code text, OUT message text,
    OUT total integer, OUT completed integer) RETURNS record
    LANGUAGE plpgsql STABLE
    AS $$
#variable_conflict use_variable
DECLARE
  content record;
  context record;
  finding record;
BEGIN
  code := 'too_large';
  IF octet_length(data) > longest_data() THEN
    message := format('data has %s bytes, and the limit is %s (%s MiB): keep what is large elsewhere, and its '
                      'address in the data',
                      octet_length(data), longest_data(), longest_data() >> 20);
    RETURN;
  ELSIF octet_length(metadata) > longest_metadata() THEN
    message := format('metadata has %s bytes, and the limit is %s (%s KiB): what the event is about belongs into '
                      'its data',
                      octet_length(metadata), longest_metadata(), longest_metadata() >> 10);
    RETURN;
  END IF;

  code := 'invalid_event';
  message := CASE
    WHEN missing_category(category) IS NOT NULL
      THEN missing_category(category)
    WHEN coalesce(stream, '') = ''
      THEN format('the %s id is empty: it has 1 to %s characters', category, longest_stream_id())
    WHEN length(stream) > longest_stream_id()
      THEN format('the %s id %s… has %s characters, and the limit is %s',
                  category, to_json(left(stream, 60)), length(stream), longest_stream_id())
    WHEN NOT is_stream_id(stream)
      THEN format('the %s id %s has a control character such as a newline or a tab: take it out',
                  category, to_json(left(stream, 100)))
    WHEN missing_type(category, type) IS NOT NULL
      THEN missing_type(category, type)
    WHEN NOT is_event_time(occurred_at)
      THEN 'occurred_at must lie in the years 1 to 9999; leave it out where nobody knows when it was'
    WHEN expected_version < 0
      THEN format('an expected version is 0 (the %s must not exist yet) or more, not %s; leave it out where any '
                  'will do',
                  category, expected_version)
  END;
  IF message IS NOT NULL THEN
    RETURN;
  END IF;

  content := parse_json(data);
  context := parse_json(metadata);
  message := CASE
    -- The server quotes what it cannot read. Of other categories that may be personal.
    WHEN content.problem LIKE 'is not acceptable JSON: %' AND category <> 'job' THEN 'data is not acceptable JSON'
    WHEN content.problem IS NOT NULL THEN 'data ' || content.problem
    WHEN context.problem IS NOT NULL THEN 'metadata ' || context.problem
    WHEN jsonb_typeof(content.value) <> 'object'
      THEN format('data must be a JSON object such as %s, not %s',
                  CASE category WHEN 'job' THEN '{"completed": 5}' ELSE '{"name": "value"}' END,
                  CASE category WHEN 'job' THEN excerpt(content.value) ELSE jsonb_typeof(content.value) END)
    WHEN jsonb_typeof(context.value) <> 'object'
      THEN format('metadata must be a JSON object such as {"actor": "ada"}, not %s',
                  CASE category WHEN 'job' THEN excerpt(context.value) ELSE jsonb_typeof(context.value) END)
    WHEN category <> 'job' AND repeats_a_key(data::json, content.value)
      THEN format('data has the key %s more than once: leave one', first_repeated_key(data::json))
    ELSE (SELECT format('"%s" of metadata must be a text, in quotes, not %s', name, excerpt(context.value -> name))
            FROM unnest('{actor,correlation_id,causation_id,traceparent}'::text[])
                   WITH ORDINALITY AS known (name, place)
           WHERE jsonb_typeof(nullif(context.value -> name, 'null')) <> 'string'
           ORDER BY place LIMIT 1)
  END;
  IF message IS NOT NULL THEN
    RETURN;
  END IF;

  IF category = 'job' THEN
    finding := check_data(type, content.value);
    message := finding.problem;
    total := finding.total;
    completed := finding.completed;
  ELSE
    message := check_data_in(category, type, content.value);
  END IF;
  IF message IS NULL THEN
    code := null;
  END IF;
END
$$;

-- Everything that can be wrong with one event, whatever the log holds. `code` and `message` are
-- null where nothing is.
CREATE FUNCTION check_event(job text, type text, data text, metadata text, occurred_at timestamptz,
    expected_version integer, OUT code text, OUT message text, OUT total integer,
    OUT completed integer) RETURNS record
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
  SELECT c.code, c.message, c.total, c.completed INTO code, message, total, completed
    FROM check_event('job', job, type, data, metadata, occurred_at, expected_version) AS c;
END
$$;

-- =================================================================================================
-- The life of a job: which event may follow which. And retries: which event is the same as another
-- under its id. Both are checked while the log is locked.
-- =================================================================================================

CREATE FUNCTION ends_job(type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN type IN ('finished', 'failed');

-- Why an event of this type cannot follow the last event of its job, null where it can. `last_type`
-- is null while the job has no events.
CREATE FUNCTION lifecycle_refusal(type text, last_type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN type = 'queued'     THEN CASE WHEN last_type IS NOT NULL THEN 'already_queued' END
  WHEN last_type IS NULL   THEN 'unknown_job'
  WHEN ends_job(last_type) THEN 'already_ended'
END;

-- A total of 0 is unknown.
CREATE FUNCTION exceeds_total(completed integer, total integer) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (completed > total AND total > 0) IS TRUE;

-- Whether an event may be appended to a job whose last event has this version and type, both null
-- where there is none. `total` is the job's total after the event.
CREATE FUNCTION may_append(
  type text, expected_version integer, completed integer, total integer, last_version integer, last_type text
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lifecycle_refusal(type, last_type) IS NULL
   AND (expected_version <> coalesce(last_version, 0)) IS NOT TRUE
   AND NOT exceeds_total(completed, total);

-- Why may_append() says no, as a refusal.
CREATE FUNCTION explain_refusal(job text, type text, expected_version integer, completed integer,
    total integer, last_version integer, last_type text, OUT code text,
    OUT message text) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
  code := coalesce(
    lifecycle_refusal(type, last_type),
    CASE WHEN expected_version <> coalesce(last_version, 0) THEN 'version_conflict' ELSE 'invalid_event' END);
  message := CASE code
    WHEN 'already_queued'
      THEN format('job %s is queued already: another job needs another id', to_json(job))
    WHEN 'unknown_job'
      THEN format('job %s has no events; the first must be queued', to_json(job))
    WHEN 'already_ended'
      THEN format('job %s has ended; nothing follows an end: what goes on is another job', to_json(job))
    WHEN 'version_conflict'
      THEN format('job %s is at version %s, not at %s: somebody else has appended meanwhile; read its events, and '
                  'decide anew',
                  to_json(job), coalesce(last_version, 0), expected_version)
    ELSE format('%s of %s runs cannot be completed: send the new "total" with the progress if there are more',
                completed, total)
  END;
END
$$;

-- How many bytes differing_parts() parses for two texts.
CREATE FUNCTION bytes_to_compare(a text, b text) RETURNS bigint
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN octet_length(a) = octet_length(b) AND a = b THEN 0 ELSE octet_length(a)::bigint + octet_length(b) END;

-- Whether two texts hold the same JSON object, apart from the keys in `ignored`. `accepted` is in
-- the log or on its way there. `given` may be anything; where it is larger than the log takes, it
-- is not parsed.
CREATE FUNCTION is_same_json(accepted text, given text, ignored text[]) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  parsed CONSTANT jsonb := CASE WHEN octet_length(given) <= longest_data() THEN (parse_json(given)).value END;
BEGIN
  RETURN (jsonb_typeof(parsed) = 'object') IS TRUE AND accepted::jsonb - ignored = parsed - ignored;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  RETURN false;  -- accepted under other rules than today's
END
$$;

-- Which parts of two events with one id differ; an empty text where none does, so that the second
-- is a retry. The same JSON in other bytes is the same content, for many encoders do not keep the
-- order of keys. The trace context is not content: each attempt has its own.
CREATE FUNCTION differing_parts(
  a_job text, b_job text, a_type text, b_type text, a_data text, b_data text, a_metadata text, b_metadata text,
  a_moment timestamptz, b_moment timestamptz
) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN concat_ws(', ',
  CASE WHEN a_job <> b_job THEN 'job' END,
  CASE WHEN a_type <> b_type THEN 'type' END,
  CASE WHEN bytes_to_compare(a_data, b_data) > 0 AND NOT is_same_json(a_data, b_data, '{}') THEN 'data' END,
  CASE WHEN bytes_to_compare(a_metadata, b_metadata) > 0
        AND NOT is_same_json(a_metadata, b_metadata, '{traceparent,tracestate}') THEN 'metadata' END,
  CASE WHEN a_moment IS DISTINCT FROM b_moment THEN 'occurred_at' END);

-- =================================================================================================
-- How events come in. SQL callers use append_event() for one event and append() for many; the
-- service calls append_batch() and append_to_distinct_jobs(), which answer more compactly.
--
-- Which path a call takes. One event: append_one(), without the cost of set operations. A batch of
-- which every event belongs to another job, as a group of concurrent callers makes it:
-- append_to_distinct_jobs(), one statement for heads, checks and insert, because no event depends
-- on another. Any other batch: append_batch(), in sets, with one probe of the index for each job.
-- These three paths take only what is *plain*: well-formed events, all new, each of which may
-- follow the last event of its job. That holds for nearly all batches and is known without a reason
-- for each event. Any other batch goes to append_one_by_one(), which decides event by event and
-- says why. It is several times slower, and the rules are the same: a test sends random batches
-- both ways.
--
-- What depends on the event alone is checked before the log is locked; what depends on the log,
-- after that. From the lock to the commit nobody else can append.
-- =================================================================================================

-- Only the transaction that has locked this empty table numbers events. It is a table and not an
-- advisory lock, because only its owner can lock it.
CREATE TABLE serialiser (
);

-- The answer for one event of append().
CREATE TYPE append_answer AS (
    ordinal integer,
    position bigint,
    version integer,
    event_id uuid,
    duplicate boolean,
    code text,
    message text
);

-- The answer of append_event().
CREATE TYPE appended AS (
    position bigint,
    version integer,
    event_id uuid,
    duplicate boolean
);

-- The answer for a batch. Where all of it was appended on a plain path, `answers` is null, and
-- positions are consecutive from the first.
CREATE TYPE batch_answer AS (
    first_position bigint,
    versions integer[],
    event_ids uuid[],
    answers append_answer[]
);

-- What check_batch() finds out about a batch before the log is locked.
CREATE TYPE checked_batch AS (
    is_plain boolean,
    ids uuid[],
    documents json[],
    contexts json[],
    streams integer[],
    places integer[],
    new_totals integer[],
    totals integer[],
    completeds integer[],
    stream_jobs text[],
    stream_first_types text[],
    stream_expected integer[],
    stream_completeds integer[]
);

-- What check_distinct_jobs() finds out, by ordinal.
CREATE TYPE checked_events AS (
    is_plain boolean,
    completeds integer[],
    totals integer[]
);

-- Appends one event, for SQL in any language. `job_id` is the id of a stream of the category, which
-- is job unless another one is named. A refusal is an error with a SQLSTATE of its own:
--   JL001 unknown_job   JL002 already_queued   JL003 already_ended   JL004 version_conflict
--   JL005 event_id_conflict   JL006 invalid_event   JL007 too_large
--   JL008 not_unique   JL009 unknown_reference   JL010 invalid_transition
-- The first three are of any category: the stream has no events yet, it has some, it has ended.
-- expected_version 0 means that the stream must not exist yet. In your own transaction the event
-- commits with your rows or not at all. Commit soon, because other appenders wait: a session that
-- stays idle, or runs one statement, for 5 s after the append is ended, and its transaction with
-- it.
CREATE FUNCTION append_event(
  job_id           text,
  type             text,
  data             json        DEFAULT '{}',
  metadata         json        DEFAULT '{}',
  expected_version integer     DEFAULT null,
  event_id         uuid        DEFAULT null,
  occurred_at      timestamptz DEFAULT null,
  category         text        DEFAULT 'job'
) RETURNS appended
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off
-- Roles may have it off, and would read the backslashes of functions called from here otherwise.
SET standard_conforming_strings = on AS $$
DECLARE
  batch  CONSTANT batch_answer := CASE
    WHEN coalesce(category, 'job') = 'job'
      THEN append_one(job_id, type, data::text, metadata::text, expected_version, event_id, occurred_at)
    ELSE append_one_to_stream(category, job_id, type, data::text, metadata::text, expected_version, event_id,
                              occurred_at)
  END;

-- Appends events of many streams, given as parallel arrays. Every array but the first three may be
-- null or short; what is missing is null. `jobs` are ids of streams, of the categories beside them:
-- of jobs, where there are none. Events with the same number in `requests` must stand side by side
-- and be of one stream; they are appended together or not at all. Without a number each event is a
-- request of its own. A refused request changes nothing and does not affect others.
-- `expected_versions` counts for the first event of a request; 0 means that the stream must not
-- exist. Returns one answer for each event, in order. A refusal is an answer, not an error.
CREATE FUNCTION append(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[]        DEFAULT null,
  expected_versions integer[]     DEFAULT null,
  event_ids         uuid[]        DEFAULT null,
  occurred_ats      timestamptz[] DEFAULT null,
  requests          integer[]     DEFAULT null,
  categories        text[]        DEFAULT null
) RETURNS SETOF append_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  answer CONSTANT batch_answer := append_batch(
    jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, requests, null, null, categories);

-- Appends a batch as append() does. With `appender` and `turn`, batches of one appender are
-- appended in the order of their turns: see await_turn().
CREATE FUNCTION append_batch(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[]        DEFAULT null,
  expected_versions integer[]     DEFAULT null,
  event_ids         uuid[]        DEFAULT null,
  occurred_ats      timestamptz[] DEFAULT null,
  requests          integer[]     DEFAULT null,
  appender          text          DEFAULT null,
  turn              bigint        DEFAULT null,
  categories        text[]        DEFAULT null
) RETURNS batch_answer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off
SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
  batch         CONSTANT integer := cardinality(jobs);

-- As before, by an index that has the category before the version.
CREATE FUNCTION append_to_distinct_jobs(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[],
  expected_versions integer[],
  event_ids         uuid[],
  occurred_ats      timestamptz[],
  known_versions    integer[],
  appender          text   DEFAULT null,
  turn              bigint DEFAULT null
) RETURNS batch_answer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off
SET standard_conforming_strings = on AS $$
#variable_conflict use_column
DECLARE
  checked CONSTANT checked_events := check_distinct_jobs(
    jobs, types, data, metadata, expected_versions, event_ids, occurred_ats);

-- =================================================================================================
-- What is checked before the log is locked, for many events at once and without reasons. An event
-- is plain here only where check_event() would find nothing wrong. Where these checks doubt a good
-- event, it only takes longer.
-- =================================================================================================

-- What a quick check finds in one event's data.
CREATE TYPE quick_finding AS (
    is_plain boolean,
    total integer,
    completed integer
);

-- By far the most events. The planner writes this into the statement that asks, so it costs no
-- call.
CREATE FUNCTION is_mere_progress(type text, data jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN coalesce(
  type = 'progress' AND data - '{completed,message}'::text[] = '{}'
    AND jsonb_typeof(data -> 'completed') = 'number' AND (data ->> 'completed')::integer >= 0
    AND (jsonb_typeof(data -> 'message') = 'string') IS NOT FALSE, false);

-- What check_event() finds in data that are parsed already, without the reason.
CREATE FUNCTION quick_check(type text, data jsonb) RETURNS quick_finding
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  finding record;

CREATE FUNCTION is_plain_context(metadata jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
  RETURN jsonb_typeof(metadata) = 'object'
     AND (jsonb_typeof(metadata -> 'actor') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'correlation_id') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'causation_id') = 'string') IS NOT FALSE
     AND (jsonb_typeof(metadata -> 'traceparent') = 'string') IS NOT FALSE
     AND NOT has_number_out_of_range(metadata)
     AND (pg_column_size(metadata) <= 1024 OR NOT is_nested_too_deep(metadata));
END
$$;

-- Most events have no metadata. Raises a data exception if the text is not JSON.
CREATE FUNCTION is_plain_metadata(metadata text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN CASE
  WHEN metadata IS NULL OR metadata = '{}' THEN true
  ELSE octet_length(metadata) <= longest_metadata() AND is_plain_context(metadata::jsonb)
END;

CREATE FUNCTION longest_batch() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 10000;

-- Says what is wrong with the arrays of a call, after append_batch() has found that something is.
CREATE FUNCTION refuse_arguments(jobs text[], types text[], data text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF cardinality(jobs) > longest_batch() THEN
    RAISE EXCEPTION 'a call takes % events at most, not %', longest_batch(), cardinality(jobs)
      USING ERRCODE = 'program_limit_exceeded';
  ELSIF cardinality(types) IS DISTINCT FROM cardinality(jobs)
    OR cardinality(data) IS DISTINCT FROM cardinality(jobs)
  THEN
    RAISE EXCEPTION 'jobs, types and data must have the same length' USING ERRCODE = 'array_subscript_error';
  END IF;
  RAISE EXCEPTION 'every array must have one dimension, and begin at 1' USING ERRCODE = 'array_subscript_error';
END
$$;

-- What append_to_distinct_jobs() has to know. `is_plain` is not true where a job or an event id
-- comes twice.
CREATE FUNCTION check_distinct_jobs(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], event_ids uuid[],
  occurred_ats timestamptz[]
) RETURNS checked_events
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch            CONSTANT integer := cardinality(jobs);

-- What append_batch() has to know. Where the batch is not plain, nothing else is said of it.
CREATE FUNCTION check_batch(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], event_ids uuid[],
  occurred_ats timestamptz[], requests integer[]
) RETURNS checked_batch
LANGUAGE plpgsql AS $$
DECLARE
  batch          CONSTANT integer := cardinality(jobs);

-- =================================================================================================
-- How events are numbered and written: the lock on the log, the order of one appender's batches,
-- the path for one event, the path that decides event by event, and the INSERT that sets and
-- imports share.
-- =================================================================================================

-- As before, and it begins an epoch where the server has changed. The timeline that the session has
-- checked is in a setting. Whoever sets it by hand keeps the epoch from beginning with its own
-- appends; their order and the log stay as they are.
CREATE FUNCTION lock_log() RETURNS void
    LANGUAGE plpgsql
    SET lock_timeout TO '10s'
    AS $$
DECLARE
  longest CONSTANT interval := '5 s';
  done    text;
BEGIN
  -- One expression for what hardly ever is the case: Postgres prepares each one anew in each
  -- transaction.
  IF current_setting('transaction_isolation') <> 'read committed'
    OR current_setting('max_prepared_transactions') <> '0'
  THEN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      -- Its snapshot may be older than the last events, so it could only give their positions
      -- again.
      RAISE EXCEPTION 'append works in READ COMMITTED transactions, not in %',
        upper(current_setting('transaction_isolation'))
        USING ERRCODE = 'active_sql_transaction', HINT = 'Begin with BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    PERFORM forbid_prepare();
  END IF;
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
  -- From here on others wait for this transaction, which may be the caller's own. It may be idle,
  -- or run one statement, for 5 s, and its commit waits for the disk. A SET clause of this function
  -- would end with it.
  done := pg_catalog.concat(
    CASE WHEN current_setting('statement_timeout') = '0' OR current_setting('statement_timeout')::interval > longest
         THEN set_config('statement_timeout', '5s', true) END,
    CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
           OR current_setting('idle_in_transaction_session_timeout')::interval > longest
         THEN set_config('idle_in_transaction_session_timeout', '5s', true) END,
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END);
  IF strpos(coalesce(current_setting('jobledger.timeline', true), ''), ';' || current_schema() || ';') = 0
    AND current_setting('jobledger.timeline', true) IS DISTINCT FROM 'import'
  THEN
    PERFORM follow_timeline();
  END IF;
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the log locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
END
$$;

-- An appender that sends several batches at once, and wants them written in order, numbers them
-- from 1. A batch is checked at once and waits here, holding no lock, until the one before it is in
-- the log. So one is checked while another is written. It waits for 3 s at most: the one before may
-- have lost its connection.
CREATE FUNCTION await_turn(appender text, turn bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
  deadline CONSTANT timestamptz := clock_timestamp() + '3 s';
BEGIN
  WHILE turn > 1
    AND NOT EXISTS (SELECT FROM checkpoints WHERE reader = 'append ' || appender AND position >= turn - 1)
  LOOP
    IF clock_timestamp() > deadline THEN
      RAISE EXCEPTION 'batch % of % has not been appended for 3 s', turn - 1, appender
        USING ERRCODE = 'lock_not_available', HINT = 'Nothing was written. Retry with the same event ids.';
    END IF;
    PERFORM pg_sleep(0.0002);
  END LOOP;
END
$$;

CREATE FUNCTION end_turn(appender text, turn bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    SET lock_timeout TO '10s'
    AS $$
BEGIN
  INSERT INTO checkpoints AS c (reader, position) VALUES ('append ' || appender, turn)
  ON CONFLICT (reader) DO UPDATE SET position = greatest(c.position, excluded.position), updated_at = clock_timestamp();
END
$$;

-- For an appender that has no more batches. Turns that others left behind more than a day ago go
-- too.
CREATE FUNCTION forget_turns(appender text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  DELETE FROM checkpoints
   WHERE reader = 'append ' || appender OR reader LIKE 'append %' AND updated_at < clock_timestamp() - interval '1 day';
END
$$;

-- Where the log ends: head 0 and no time while it is empty.
CREATE FUNCTION last_event(OUT head bigint, OUT recorded_at timestamptz) RETURNS record
    LANGUAGE plpgsql
    AS $$
BEGIN
  SELECT e.position, e.recorded_at INTO head, recorded_at FROM events AS e ORDER BY e.position DESC LIMIT 1;
  head := coalesce(head, 0);
END
$$;

-- Writes events that are checked and numbered, given by ordinal; those without a position are left
-- out. All are recorded now, or each at its own time.
CREATE FUNCTION write_events(positions bigint[], ids uuid[], jobs text[], versions integer[],
    types text[], documents json[], contexts json[], occurred_ats timestamptz[], now timestamptz,
    recorded_ats timestamptz[], totals integer[], completeds integer[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  INSERT INTO events (
    position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  SELECT e.position, e.id, e.job, e.version, e.type, e.document, coalesce(e.context, '{}'), e.occurred_at,
         coalesce(e.recorded_at, now), e.total, e.completed
    FROM unnest(positions, ids, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats,
                totals, completeds)
           AS e (position, id, job, version, type, document, context, occurred_at, recorded_at, total, completed)
   WHERE e.position IS NOT NULL;
END
$$;

-- As before, by an index that has the category before the version.
CREATE FUNCTION append_one(
  job text, type text, data text, metadata text, expected_version integer, event_id uuid, occurred_at timestamptz
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  id       CONSTANT uuid := coalesce(event_id, uuid_v7());

-- Where a job's stream stands while append_one_by_one() works: null while it has no events.
CREATE TYPE stream_state AS (
    version integer,
    total integer,
    last_type text
);

-- Appends any batch, of events that are new, repeated or to be refused, and decides event by event,
-- in order. The log is locked. `codes` and `messages` are what check_event() found; both are null
-- where the batch looked plain.
CREATE FUNCTION append_one_by_one(jobs text[], types text[], data text[], metadata text[],
    expected_versions integer[], ids uuid[], occurred_ats timestamptz[], requests integer[],
    codes text[], messages text[], totals integer[],
    completeds integer[]) RETURNS SETOF append_answer
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
  batch         CONSTANT integer := cardinality(jobs);
  last          CONSTANT record  := last_event();
  compared      bigint := 0;  -- bytes that had to be parsed, to tell a retry from another event under its id
  next_position bigint := last.head + 1;
  answers       append_answer[] := array_fill(null::append_answer, ARRAY[batch]);  -- by ordinal
  streams       stream_state[]  := array_fill(null::stream_state, ARRAY[batch]);   -- by number of the job
  accepted_as   integer[]       := array_fill(null::integer, ARRAY[batch]);        -- by number of the id: an ordinal
  id_numbers    integer[]       := array_fill(null::integer, ARRAY[batch]);        -- by ordinal
  event         record;
  stream        stream_state;
  total         integer;
  expected      integer;
  repeated      record;
  refusal       text;
  reason        text;
  -- The request under way, and what to go back to when it is refused.
  request         bigint;
  request_start   integer;
  request_stream  integer;
  is_refused      boolean;
  stream_before   stream_state;
  position_before bigint;
BEGIN
  FOR event IN
    SELECT e.ordinal::integer, e.job, e.type, e.data, coalesce(e.metadata, '{}') AS metadata, e.expected_version, e.id,
           e.occurred_at, e.code, e.message, e.total, e.completed,
           -- Events without a number are requests of their own, with numbers beyond all integers.
           coalesce(e.request, 4294967296 + e.ordinal) AS request,
           dense_rank() OVER (ORDER BY e.job COLLATE "C")::integer AS stream,
           dense_rank() OVER (ORDER BY e.id)::integer AS id_number,
           (head.version, head.total, head.type)::stream_state AS head, earlier.position AS earlier_position
      FROM unnest(jobs, types, data, metadata, expected_versions, ids, occurred_ats,
                  codes, messages, totals, completeds, requests)
             WITH ORDINALITY AS e (job, type, data, metadata, expected_version, id, occurred_at,
                                   code, message, total, completed, request, ordinal)
      -- One probe of an index each, whatever the statistics say.
      LEFT JOIN LATERAL (SELECT h.position FROM events AS h WHERE h.event_id = e.id OFFSET 0) AS earlier ON true
      LEFT JOIN LATERAL (
        SELECT h.version, h.total, h.type FROM events AS h WHERE h.category = 'job' AND h.stream_id = e.job
         ORDER BY h.version DESC LIMIT 1) AS head ON true
     WHERE e.ordinal <= batch ORDER BY e.ordinal
  LOOP
    stream := coalesce(streams[event.stream], event.head);
    IF request IS DISTINCT FROM event.request THEN
      request := event.request;
      request_start := event.ordinal;
      request_stream := event.stream;
      is_refused := false;
      stream_before := stream;
      position_before := next_position;
    END IF;
    CONTINUE WHEN is_refused;
    id_numbers[event.ordinal] := event.id_number;
    refusal := null;
    IF event.stream <> request_stream THEN
      refusal := 'invalid_event';
      reason := 'the events of one request belong to one job: this one is of another';
    ELSIF event.earlier_position IS NOT NULL OR accepted_as[event.id_number] IS NOT NULL THEN
      -- A retry comes first: it is never refused for what has happened since.
      repeated := find_repeated(compared, event.earlier_position, answers[accepted_as[event.id_number]], jobs, types,
        data, metadata, occurred_ats, event.job, event.type, event.data, event.metadata, event.occurred_at);
      compared := repeated.compared;
      IF repeated.problem IS NULL THEN
        answers[event.ordinal] := (event.ordinal, repeated.at_position, repeated.at_version, event.id, true, null,
          null)::append_answer;
        CONTINUE;
      END IF;
      refusal := 'event_id_conflict';
      reason := format('event id %s %s', event.id, repeated.problem);
    ELSIF event.code IS NOT NULL THEN
      refusal := event.code;
      reason := event.message;
    ELSE
      total := coalesce(event.total, stream.total);
      expected := CASE WHEN event.ordinal = request_start THEN event.expected_version END;
      IF NOT may_append(event.type, expected, event.completed, total, stream.version, stream.last_type) THEN
        SELECT * INTO refusal, reason FROM explain_refusal(event.job, event.type, expected, event.completed, total,
          stream.version, stream.last_type);
      END IF;
    END IF;

    IF refusal IS NULL THEN
      stream := (coalesce(stream.version, 0) + 1, coalesce(total, 0), event.type)::stream_state;
      streams[event.stream] := stream;
      totals[event.ordinal] := stream.total;
      accepted_as[event.id_number] := event.ordinal;
      answers[event.ordinal] := (event.ordinal, next_position, stream.version, event.id, false, null,
        null)::append_answer;
      next_position := next_position + 1;
    ELSE
      -- The request is refused: what it did so far is undone, and its event ids are free again.
      is_refused := true;
      next_position := position_before;
      streams[request_stream] := stream_before;
      IF event.ordinal > request_start THEN
        reason := format('event %s of this request: %s', event.ordinal - request_start + 1, reason);
      END IF;
      FOR undone IN request_start .. batch LOOP
        EXIT WHEN coalesce(requests[undone], 4294967296 + undone) <> request;
        answers[undone] := (undone, null, null, ids[undone], false, refusal, reason)::append_answer;
        IF accepted_as[id_numbers[undone]] = undone THEN
          accepted_as[id_numbers[undone]] := null;
        END IF;
      END LOOP;
    END IF;
  END LOOP;

  IF next_position > last.head + 1 THEN
    PERFORM write_answered(answers, jobs, types, data, metadata, occurred_ats, last.recorded_at, totals, completeds);
  END IF;
  RETURN QUERY SELECT * FROM unnest(answers);
END
$$;

-- As before, and an event that is in the log already makes the commit wait.
CREATE FUNCTION find_repeated(INOUT compared bigint, logged_position bigint,
    answered append_answer, jobs text[], types text[], data text[], metadata text[],
    occurred_ats timestamptz[], job text, type text, content text, context text,
    occurred_at timestamptz, OUT problem text, OUT at_position bigint,
    OUT at_version integer) RETURNS record
    LANGUAGE plpgsql
    AS $$
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

-- Writes the new events among those that append_one_by_one() has answered.
CREATE FUNCTION write_answered(answers append_answer[], jobs text[], types text[], data text[],
    metadata text[], occurred_ats timestamptz[], last_recorded_at timestamptz, totals integer[],
    completeds integer[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
  positions bigint[];
  ids       uuid[];
  versions  integer[];
  documents json[];
  contexts  json[];
BEGIN
  -- Only what was accepted is sure to be JSON.
  SELECT array_agg(CASE WHEN NOT e.duplicate THEN e.position END ORDER BY e.ordinal),
         array_agg(e.event_id ORDER BY e.ordinal),
         array_agg(e.version ORDER BY e.ordinal),
         array_agg(CASE WHEN e.position IS NOT NULL AND NOT e.duplicate THEN e.data::json END ORDER BY e.ordinal),
         array_agg(CASE WHEN e.position IS NOT NULL AND NOT e.duplicate THEN e.metadata::json END ORDER BY e.ordinal)
    INTO positions, ids, versions, documents, contexts
    FROM unnest(answers, data, metadata)
           AS e (ordinal, position, version, event_id, duplicate, code, message, data, metadata)
   WHERE e.ordinal IS NOT NULL;
  PERFORM write_events(positions, ids, jobs, versions, types, documents, contexts, occurred_ats,
    greatest(clock_timestamp(), last_recorded_at), null, totals, completeds);
END
$$;

-- =================================================================================================
-- What readers of the log share: how far each is, and which of several processes is at work.
-- =================================================================================================

-- The last position that a reader has processed. The turns of appenders are kept here too, as
-- readers named 'append …': see await_turn().
CREATE TABLE checkpoints (
    reader text NOT NULL,
    position bigint DEFAULT 0 NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT checkpoints_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint))),
    CONSTRAINT checkpoints_position_not_negative CHECK ((position >= 0))
);
ALTER TABLE checkpoints ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (reader);

-- The last position that a reader has processed. The turns of appenders are kept here too, as
-- readers named 'append …': see await_turn().
ALTER TABLE checkpoints ENABLE ROW LEVEL SECURITY;
CREATE POLICY checkpoints_all_may_see ON checkpoints FOR SELECT USING (true);
CREATE TRIGGER checkpoints_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON checkpoints
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER checkpoints_not_prepared;
CREATE POLICY checkpoints_of_relay ON checkpoints TO jobledger_relay USING ((reader = 'relay'));

-- Moves a reader on from the position that it knows. Returns false where the reader is elsewhere,
-- because another process has moved it.
CREATE FUNCTION advance_checkpoint(of_reader text, from_position bigint,
    to_position bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
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

-- Who is at work. A holder renews its lease well before it runs out; another can take it after
-- that. So a killed holder is replaced within seconds, whether or not its connection was noticed to
-- be gone. A lease saves two processes from doing the same work. What makes double work harmless is
-- the compare-and-swap on the checkpoint.
CREATE TABLE leases (
    name text NOT NULL,
    holder text NOT NULL,
    fence bigint DEFAULT 1 NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT leases_fence_countable CHECK (((fence >= '-4611686018427387903'::bigint) AND (fence <= '4611686018427387903'::bigint)))
);
ALTER TABLE leases ADD CONSTRAINT leases_pkey PRIMARY KEY (name);

-- Who is at work. A holder renews its lease well before it runs out; another can take it after
-- that. So a killed holder is replaced within seconds, whether or not its connection was noticed to
-- be gone. A lease saves two processes from doing the same work. What makes double work harmless is
-- the compare-and-swap on the checkpoint.
ALTER TABLE leases ENABLE ROW LEVEL SECURITY;
CREATE POLICY leases_all_may_see ON leases FOR SELECT USING (true);
CREATE TRIGGER leases_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON leases
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE leases ENABLE ALWAYS TRIGGER leases_not_prepared;
CREATE POLICY leases_of_projectors ON leases TO jobledger_projector USING ((name ~~ 'projection:%'));
CREATE POLICY leases_of_relay ON leases TO jobledger_relay USING ((name = 'relay'));
CREATE POLICY leases_of_sealer ON leases TO jobledger_sealer USING ((name = 'sealer'));

-- No lease lasts longer without renewal. One that ends later was written while the clock was ahead,
-- and is not believed.
CREATE FUNCTION longest_lease() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
RETURN interval '1 min';

-- Whether a lease that ends then is held now.
CREATE FUNCTION is_held(until timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path FROM CURRENT
RETURN until BETWEEN clock_timestamp() AND clock_timestamp() + longest_lease();

-- Takes a lease that is free, has run out, or is the holder's own. Returns its fence, or null while
-- another holds it.
CREATE FUNCTION take_lease(lease text, by_holder text, duration interval) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO leases AS held (name, holder, expires_at)
  VALUES (lease, by_holder, clock_timestamp() + least(duration, longest_lease()))
  ON CONFLICT (name) DO UPDATE
     SET holder = excluded.holder,
         fence = held.fence + (held.holder <> excluded.holder)::integer,
         expires_at = excluded.expires_at
   WHERE NOT is_held(held.expires_at) OR held.holder = excluded.holder
  RETURNING fence;
END;

CREATE FUNCTION release_lease(lease text, by_holder text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE leases SET expires_at = '-infinity' WHERE name = lease AND holder = by_holder;
END;

-- The transaction that has locked the log, if there is one, by its session, or by its name where it
-- was prepared and has no session. `held_for` is known where the ledger's owner may see it, which
-- takes pg_read_all_stats. How long others have been waiting is known to all.
CREATE FUNCTION log_holder(
  OUT pid integer, OUT gid text, OUT username text, OUT application text, OUT transaction text, OUT held_for interval,
  OUT waiting bigint, OUT longest_wait interval
) RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 1 SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  WITH lock AS MATERIALIZED (
    SELECT l.*, l.relation = 'serialiser'::regclass AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
             AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AS is_of_log
      FROM pg_locks AS l
  )
  SELECT held.pid, p.gid, coalesce(a.usename, p.owner)::text, a.application_name, held.virtualtransaction,
         clock_timestamp() - coalesce(a.xact_start, p.prepared), queue.waiting, clock_timestamp() - queue.since
    FROM lock AS held
    LEFT JOIN pg_stat_activity AS a ON a.pid = held.pid
    -- A prepared transaction has no session; its locks lead to its number, and that to its name.
    LEFT JOIN lock AS number ON held.pid IS NULL AND number.pid IS NULL AND number.locktype = 'transactionid'
      AND number.granted
                            AND number.virtualtransaction = held.virtualtransaction
    LEFT JOIN pg_prepared_xacts AS p ON p.transaction = number.transactionid
    CROSS JOIN (SELECT count(*), min(waitstart) FROM lock WHERE is_of_log AND NOT granted) AS queue (waiting, since)
   WHERE held.is_of_log AND held.granted
   LIMIT 1;
END;

-- Ends the session that holds the log, if it is still in the same transaction and has been for 5 s.
-- Returns false where there is nothing to end any more. The ledger's owner needs two rights of the
-- server for it, which its administrator grants.
CREATE FUNCTION end_log_holder(of_transaction text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  least_hold CONSTANT interval := '5 s';

-- =================================================================================================
-- Durable subscriptions: how far each has come, and who has it now. And the key to the live feed.
--
-- Only its holder, known by a secret, moves a subscription. Only the user that made it takes it
-- over. The functions run with the owner's rights, so those who may call them can do nothing else
-- to the table.
-- =================================================================================================

CREATE TABLE subscriptions (
    name text NOT NULL,
    position bigint NOT NULL,
    epoch uuid NOT NULL,
    holder text NOT NULL,
    expires_at timestamptz NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    bound_to text,
    CONSTRAINT subscriptions_holder_form CHECK ((holder ~ '^[0-9a-f]{64}$')),
    CONSTRAINT subscriptions_name_length CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT subscriptions_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint))),
    CONSTRAINT subscriptions_position_not_negative CHECK ((position >= 0))
);
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (name);
CREATE TRIGGER subscriptions_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON subscriptions
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE subscriptions ENABLE ALWAYS TRIGGER subscriptions_not_prepared;

CREATE FUNCTION holder_hash(secret text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path FROM CURRENT
RETURN encode(sha256(convert_to(secret, 'UTF8')), 'hex');

-- Whether the session's user is this role, or a member of it.
CREATE FUNCTION is_bound_to(role text) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT
RETURN role IS NULL OR EXISTS (SELECT FROM pg_roles WHERE rolname = role AND pg_has_role(session_user, oid, 'MEMBER'));

-- Takes a subscription that is new, free, has run out, or is the holder's own, for as long as a
-- lease at most. A new one begins behind a position, at the head where that is null, and is bound
-- to the session's user. Returns where it stands, or no row while another holds it.
CREATE FUNCTION take_subscription(subscription text, by_holder text, duration interval,
    starting_after bigint, OUT at_position bigint, OUT of_epoch uuid) RETURNS SETOF record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  hash  CONSTANT text := holder_hash(by_holder);
  bound text;
BEGIN
  IF starting_after > head() THEN
    RAISE EXCEPTION 'the log ends at %, before position %', head(), starting_after
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF length(by_holder) < 32 THEN
    RAISE EXCEPTION 'a holder of % characters can be guessed: it takes 32 at least, at random', length(by_holder)
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT bound_to INTO bound FROM subscriptions WHERE name = subscription;
  IF NOT found AND (SELECT count(*) FROM subscriptions WHERE bound_to = session_user) >= 1000 THEN
    RAISE EXCEPTION '% has 1000 subscriptions, and can have no more', session_user
      USING ERRCODE = 'program_limit_exceeded',
        HINT = 'Forget those that are not used: SELECT forget_subscription(name).';
  END IF;
  IF NOT is_bound_to(bound) THEN
    RAISE EXCEPTION 'the subscription % belongs to %', subscription, bound
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('Take another name; or the ledger''s owner gives it: SELECT give_subscription(%L, %L).',
              subscription, session_user);
  END IF;
  RETURN QUERY
    INSERT INTO subscriptions AS held (name, position, epoch, holder, expires_at, bound_to)
    SELECT subscription, coalesce(starting_after, head()), ledger.epoch, hash,
        clock_timestamp() + least(duration, longest_lease()), session_user
      FROM ledger
    ON CONFLICT (name) DO UPDATE
       SET holder = excluded.holder, expires_at = excluded.expires_at,
           bound_to = coalesce(held.bound_to, excluded.bound_to)
     WHERE (NOT is_held(held.expires_at) OR held.holder = excluded.holder)
       AND is_bound_to(held.bound_to)
    RETURNING held.position, held.epoch;
END
$$;

-- For a holder that does not know in which epoch it came to the position.
CREATE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
RETURN acknowledge(subscription, by_holder, up_to, null);

-- For a holder that does not know in which epoch it came to the position.
CREATE FUNCTION acknowledge(subscription text, by_holder text, up_to bigint,
    of_epoch text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  IF of_epoch IS NULL AND up_to > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', up_to, head()
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  UPDATE subscriptions
     SET position = greatest(position, up_to), epoch = (SELECT epoch FROM ledger), updated_at = clock_timestamp()
   WHERE name = subscription AND holder = holder_hash(by_holder) AND is_bound_to(bound_to)
     AND shared_position(of_epoch, up_to) = up_to AND shared_position(epoch::text, position) = position;
  RETURN found;
END
$$;

CREATE FUNCTION release_subscription(subscription text, by_holder text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE subscriptions SET expires_at = '-infinity' WHERE name = subscription AND holder = holder_hash(by_holder)
      AND is_bound_to(bound_to);
END;

-- Forgets a subscription. Returns false where there is none.
CREATE FUNCTION forget_subscription(subscription text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  bound text;
BEGIN
  DELETE FROM subscriptions WHERE name = subscription AND expires_at < clock_timestamp() AND is_bound_to(bound_to);
  IF found THEN RETURN true; END IF;
  SELECT bound_to INTO bound FROM subscriptions WHERE name = subscription;
  IF NOT found THEN RETURN false; END IF;
  IF NOT is_bound_to(bound) THEN
    RAISE EXCEPTION 'the subscription % belongs to %', subscription, bound USING ERRCODE = 'insufficient_privilege';
  END IF;
  RAISE EXCEPTION 'the subscription % is in use', subscription
    USING ERRCODE = 'object_in_use', HINT = 'It can be forgotten once its process has ended.';
END
$$;

-- Gives a subscription to another user, or to a role with several. For the ledger's owner, as when
-- a service gets a new user. Returns false where there is no such subscription.
CREATE FUNCTION give_subscription(subscription text, role text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  PERFORM role::regrole;  -- there is such a role, or this says that there is none
  UPDATE subscriptions SET bound_to = role WHERE name = subscription;
  RETURN found;
END
$$;

-- The secret from which relay and subscribers derive the key of the feed's messages, by the
-- ledger's name and epoch. Subscribers drop messages without it: who may publish on Redis cannot
-- say what happened.
CREATE TABLE feed_key (
    is_one boolean DEFAULT true NOT NULL,
    secret bytea NOT NULL,
    made_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT feed_key_is_one CHECK (is_one),
    CONSTRAINT feed_key_length CHECK ((length(secret) = 32))
);
ALTER TABLE feed_key ADD CONSTRAINT feed_key_pkey PRIMARY KEY (is_one);

-- Makes another secret, as after somebody has left who knew it. For the ledger's owner. Relay and
-- subscribers find it within seconds; until then events come from Postgres. A UUID has 122 random
-- bits, so three hold more than the hash keeps.
CREATE FUNCTION renew_feed_key() RETURNS void
LANGUAGE sql SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO feed_key (secret)
  VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
  ON CONFLICT (is_one) DO UPDATE SET secret = excluded.secret, made_at = excluded.made_at;
END;

-- =================================================================================================
-- Projections: where each stands, the events that it folds, and the records of rebuilds,
-- verifications, skipped events and drift.
--
-- Records are written by functions with the owner's rights, which take the author and the time from
-- the session. A record can be wrong about its author's own work, and about nothing else.
-- =================================================================================================

CREATE TABLE projections (
    name text NOT NULL,
    definition text NOT NULL,
    position bigint DEFAULT 0 NOT NULL,
    state text DEFAULT 'running' NOT NULL,
    failed_position bigint,
    error text,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    tables text[] DEFAULT '{}'[] NOT NULL,
    failed_event uuid,
    CONSTRAINT projections_failed_position_countable CHECK (((failed_position >= '-4611686018427387903'::bigint) AND (failed_position <= '4611686018427387903'::bigint))),
    CONSTRAINT projections_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint))),
    CONSTRAINT projections_position_not_negative CHECK ((position >= 0)),
    CONSTRAINT projections_state CHECK ((state = ANY (ARRAY['running', 'stopped']))),
    CONSTRAINT projections_stopped_for_a_reason CHECK (((state = 'stopped') = (error IS NOT NULL)))
);
ALTER TABLE projections ADD CONSTRAINT projections_pkey PRIMARY KEY (name);
CREATE TRIGGER projections_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON projections
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE projections ENABLE ALWAYS TRIGGER projections_not_prepared;

-- The columns that a projection sees of events, in whatever part of the log: live folds, rebuilds,
-- the past and checks all select from this view. Ids of jobs have the database's collation, as the
-- tables of projections do: an index serves no comparison in another collation.
CREATE VIEW foldable_events AS
  SELECT position, event_id, category, stream_id::text COLLATE "default" AS stream_id, version, type, data, metadata,
         occurred_at, recorded_at, total, coalesce(occurred_at, recorded_at) AS happened_at, completed
    FROM events;

-- The window of events that a projection folds: what apply.sql reads. The engine sets its bounds
-- for each transaction. OFFSET 0 makes Postgres read a window along the log. Without it, it may
-- choose another index, because that has the order which a fold asks for, and walk the whole log
-- for each window.
CREATE VIEW new_events AS
  SELECT *
    FROM consumed_events
   WHERE position > current_setting('jobledger.window_after')::bigint
     AND position <= current_setting('jobledger.window_upto')::bigint
  OFFSET 0;

-- One row for each rebuild, verification or undo.
CREATE TABLE receipts (
    number bigint NOT NULL,
    kind text NOT NULL,
    projection text NOT NULL,
    definition text NOT NULL,
    position bigint NOT NULL,
    rows bigint,
    digest text,
    live_digest text,
    events bigint,
    seconds double precision,
    workers integer,
    window_events bigint,
    blocked_ms double precision,
    made_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    made_by text NOT NULL,
    role text DEFAULT SESSION_USER NOT NULL,
    left_out bigint,
    CONSTRAINT receipts_blocked_ms_countable CHECK (((blocked_ms > '-Infinity'::double precision) AND (blocked_ms < 'Infinity'::double precision))),
    CONSTRAINT receipts_digest_form CHECK (((digest ~ '^[0-9a-f]{64}$') AND (live_digest ~ '^[0-9a-f]{64}$'))),
    CONSTRAINT receipts_durations CHECK ((((seconds >= (0)::double precision) AND (seconds <= ('1000000000'::numeric)::double precision)) AND ((blocked_ms >= (0)::double precision) AND (blocked_ms <= ('1000000000000'::numeric)::double precision)))),
    CONSTRAINT receipts_events_countable CHECK (((events >= '-4611686018427387903'::bigint) AND (events <= '4611686018427387903'::bigint))),
    CONSTRAINT receipts_kind CHECK ((kind = ANY (ARRAY['rebuild', 'verify', 'undo']))),
    CONSTRAINT receipts_left_out_countable CHECK (((left_out >= '-4611686018427387903'::bigint) AND (left_out <= '4611686018427387903'::bigint))),
    CONSTRAINT receipts_lengths CHECK (((length(projection) <= 100) AND (length(definition) <= 100) AND (length(made_by) <= 300))),
    CONSTRAINT receipts_not_negative CHECK (((LEAST(position, rows, events, left_out, (0)::bigint) = 0) AND (LEAST(seconds, blocked_ms, (0)::double precision) >= (0)::double precision))),
    CONSTRAINT receipts_number_countable CHECK (((number >= '-4611686018427387903'::bigint) AND (number <= '4611686018427387903'::bigint))),
    CONSTRAINT receipts_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint))),
    CONSTRAINT receipts_proof CHECK (((kind = 'undo') OR (num_nulls(rows, digest, events, seconds, workers, window_events) = 0))),
    CONSTRAINT receipts_rows_countable CHECK (((rows >= '-4611686018427387903'::bigint) AND (rows <= '4611686018427387903'::bigint))),
    CONSTRAINT receipts_seconds_countable CHECK (((seconds > '-Infinity'::double precision) AND (seconds < 'Infinity'::double precision))),
    CONSTRAINT receipts_verify CHECK (((kind <> 'verify') OR (live_digest IS NOT NULL))),
    CONSTRAINT receipts_window_events_countable CHECK (((window_events >= '-4611686018427387903'::bigint) AND (window_events <= '4611686018427387903'::bigint)))
);
ALTER TABLE receipts ADD CONSTRAINT receipts_pkey PRIMARY KEY (number);
CREATE TRIGGER receipts_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON receipts
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE receipts ENABLE ALWAYS TRIGGER receipts_not_prepared;
CREATE TRIGGER receipts_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON receipts
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE receipts ENABLE ALWAYS TRIGGER receipts_only_grow;

-- Which events an operator has a definition leave out. Another definition has not tried them yet.
-- Rebuild, verify and as-of leave them out too.
CREATE TABLE skipped_events (
    projection text NOT NULL,
    definition text NOT NULL,
    position bigint NOT NULL,
    event_id uuid NOT NULL,
    error text NOT NULL,
    reason text NOT NULL,
    skipped_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    skipped_by text NOT NULL,
    role text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT skipped_events_has_reason CHECK ((reason <> '')),
    CONSTRAINT skipped_events_lengths CHECK (((length(error) <= 4000) AND (length(reason) <= 4000) AND (length(skipped_by) <= 300))),
    CONSTRAINT skipped_events_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint)))
);
ALTER TABLE skipped_events ADD CONSTRAINT skipped_events_pkey PRIMARY KEY (projection, definition, position);
CREATE TRIGGER skipped_events_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON skipped_events
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE skipped_events ENABLE ALWAYS TRIGGER skipped_events_not_prepared;
CREATE TRIGGER skipped_events_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON skipped_events
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE skipped_events ENABLE ALWAYS TRIGGER skipped_events_only_grow;

-- What refolding a sample of jobs in production has found. Counts only grow.
CREATE TABLE drift_checks (
    projection text NOT NULL,
    jobs bigint DEFAULT 0 NOT NULL,
    drifted bigint DEFAULT 0 NOT NULL,
    position bigint NOT NULL,
    checked_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    last_drift text,
    checked_by text,
    CONSTRAINT drift_checks_drifted CHECK (((drifted >= 0) AND (drifted <= jobs))),
    CONSTRAINT drift_checks_drifted_countable CHECK (((drifted >= '-4611686018427387903'::bigint) AND (drifted <= '4611686018427387903'::bigint))),
    CONSTRAINT drift_checks_jobs_countable CHECK (((jobs >= '-4611686018427387903'::bigint) AND (jobs <= '4611686018427387903'::bigint))),
    CONSTRAINT drift_checks_lengths CHECK (((length(projection) <= 100) AND (length(last_drift) <= 4000))),
    CONSTRAINT drift_checks_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint)))
);
ALTER TABLE drift_checks ADD CONSTRAINT drift_checks_pkey PRIMARY KEY (projection);
CREATE TRIGGER drift_checks_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON drift_checks
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE drift_checks ENABLE ALWAYS TRIGGER drift_checks_not_prepared;

-- A rebuild under way. Its tables are in the schema LEDGER-ID. At first, slices of the streams are
-- folded in parallel, each with a position of its own. From the goal on, the tables have one
-- position.
CREATE TABLE rebuilds (
    projection text NOT NULL,
    id bigint NOT NULL,
    definition text NOT NULL,
    slices integer NOT NULL,
    goal bigint NOT NULL,
    position bigint,
    indexes text[] NOT NULL,
    server_version integer DEFAULT ((current_setting('server_version_num'))::integer / 10000) NOT NULL,
    failed_position bigint,
    failed_event uuid,
    error text,
    started_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    started_by text NOT NULL,
    CONSTRAINT rebuilds_failed_at_an_event CHECK (((failed_position IS NULL) = (error IS NULL))),
    CONSTRAINT rebuilds_failed_position_countable CHECK (((failed_position >= '-4611686018427387903'::bigint) AND (failed_position <= '4611686018427387903'::bigint))),
    CONSTRAINT rebuilds_goal_countable CHECK (((goal >= '-4611686018427387903'::bigint) AND (goal <= '4611686018427387903'::bigint))),
    CONSTRAINT rebuilds_goal_not_negative CHECK ((goal >= 0)),
    CONSTRAINT rebuilds_id_countable CHECK (((id >= '-4611686018427387903'::bigint) AND (id <= '4611686018427387903'::bigint))),
    CONSTRAINT rebuilds_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint))),
    CONSTRAINT rebuilds_position_from_goal CHECK ((position >= goal)),
    CONSTRAINT rebuilds_slices_positive CHECK ((slices > 0))
);
ALTER TABLE rebuilds ADD CONSTRAINT rebuilds_id_goal_key UNIQUE (id, goal);
ALTER TABLE rebuilds ADD CONSTRAINT rebuilds_id_key UNIQUE (id);
ALTER TABLE rebuilds ADD CONSTRAINT rebuilds_pkey PRIMARY KEY (projection);
CREATE TRIGGER rebuilds_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON rebuilds
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE rebuilds ENABLE ALWAYS TRIGGER rebuilds_not_prepared;

-- How far each slice is. A window and this position commit together.
CREATE TABLE rebuild_slices (
    rebuild bigint NOT NULL,
    slice integer NOT NULL,
    goal bigint NOT NULL,
    position bigint DEFAULT 0 NOT NULL,
    CONSTRAINT rebuild_slices_goal_countable CHECK (((goal >= '-4611686018427387903'::bigint) AND (goal <= '4611686018427387903'::bigint))),
    CONSTRAINT rebuild_slices_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint))),
    CONSTRAINT rebuild_slices_position_to_goal CHECK (((position >= 0) AND (position <= goal))),
    CONSTRAINT rebuild_slices_rebuild_countable CHECK (((rebuild >= '-4611686018427387903'::bigint) AND (rebuild <= '4611686018427387903'::bigint))),
    CONSTRAINT rebuild_slices_slice_not_negative CHECK ((slice >= 0))
);
ALTER TABLE rebuild_slices ADD CONSTRAINT rebuild_slices_pkey PRIMARY KEY (rebuild, slice);
ALTER TABLE rebuild_slices ADD CONSTRAINT rebuild_slices_rebuild_fkey FOREIGN KEY (rebuild, goal) REFERENCES rebuilds(id, goal) ON DELETE CASCADE;
CREATE TRIGGER rebuild_slices_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON rebuild_slices
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE rebuild_slices ENABLE ALWAYS TRIGGER rebuild_slices_not_prepared;

-- The tables that the last rebuild of a projection replaced, as they were: in the schema LEDGER~ID.
CREATE TABLE replaced_tables (
    projection text NOT NULL,
    id bigint NOT NULL,
    definition text NOT NULL,
    tables text[] NOT NULL,
    position bigint NOT NULL,
    replaced_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT replaced_tables_id_countable CHECK (((id >= '-4611686018427387903'::bigint) AND (id <= '4611686018427387903'::bigint))),
    CONSTRAINT replaced_tables_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint))),
    CONSTRAINT replaced_tables_position_not_negative CHECK ((position >= 0))
);
ALTER TABLE replaced_tables ADD CONSTRAINT replaced_tables_id_key UNIQUE (id);
ALTER TABLE replaced_tables ADD CONSTRAINT replaced_tables_pkey PRIMARY KEY (projection);
CREATE TRIGGER replaced_tables_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON replaced_tables
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE replaced_tables ENABLE ALWAYS TRIGGER replaced_tables_not_prepared;

-- Restarts a projection that an event has stopped, and its rebuild. Returns false where neither is
-- stopped.
CREATE FUNCTION retry_projection(of_projection text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  retried boolean;
BEGIN
  UPDATE projections SET state = 'running', failed_position = null, failed_event = null, error = null,
      updated_at = clock_timestamp()
   WHERE name = of_projection AND state = 'stopped';
  retried := found;
  UPDATE rebuilds SET failed_position = null, failed_event = null, error = null
   WHERE projection = of_projection AND error IS NOT NULL;
  RETURN retried OR found;
END
$$;

-- Leaves out the event that has stopped a projection, or its rebuild, and restarts it. No other
-- event can be left out: what is folded already would be in the tables, and not in their rebuild.
-- That the projection is stopped there is what a projector says, so verify tries each skipped event
-- again.
CREATE FUNCTION skip_event(of_projection text, at_position bigint, because text,
    by text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  skipped CONSTANT uuid := (SELECT e.event_id FROM events AS e WHERE e.position = at_position);
BEGIN
  INSERT INTO skipped_events (projection, definition, position, event_id, error, reason, skipped_by)
  SELECT DISTINCT ON (stopped.definition)
         of_projection, stopped.definition, at_position, skipped, left(stopped.error, 4000), because, left(by, 300)
    FROM (SELECT definition, failed_position, error FROM projections
           WHERE name = of_projection AND state = 'stopped' AND position = at_position - 1
          UNION ALL
          SELECT definition, failed_position, error FROM rebuilds
           WHERE projection = of_projection AND error IS NOT NULL) AS stopped
   WHERE stopped.failed_position = at_position;
  IF NOT found THEN
    RAISE EXCEPTION 'nothing skipped: % is not stopped at position %', of_projection, at_position
      USING ERRCODE = 'object_not_in_prerequisite_state',
        HINT = 'Only the event that has stopped a projection can be skipped; jobledger status names it.';
  END IF;
  PERFORM retry_projection(of_projection);
  RETURN skipped;
END
$$;

-- Records what a rebuild, a verification or an undo has found. Time, role and the number of skipped
-- events are taken from here; the rest is what the caller says.
CREATE FUNCTION record_receipt(
  of_kind text, of_projection text, of_definition text, at_position bigint, row_count bigint, of_digest text,
  of_live_digest text, event_count bigint, in_seconds double precision, worker_count integer,
  events_a_window bigint, blocked_milliseconds double precision, by text
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  INSERT INTO receipts (
    kind, projection, definition, position, rows, digest, live_digest,
    events, seconds, workers, window_events, blocked_ms, made_by, left_out)
  VALUES (
    of_kind, of_projection, of_definition, at_position, row_count, of_digest, of_live_digest,
    event_count, in_seconds, worker_count, events_a_window, blocked_milliseconds, left(by, 300),
    (SELECT count(*) FROM skipped_events AS s
      WHERE s.projection = of_projection AND s.definition = of_definition AND s.position <= at_position))
  RETURNING number;
END;

-- Records what a comparison has found.
CREATE FUNCTION record_drift_check(of_projection text, compared bigint, differing bigint,
    at_position bigint, what_differs text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  IF NOT coalesce(compared BETWEEN 0 AND 1000000 AND differing BETWEEN 0 AND compared, false) THEN
    RAISE EXCEPTION '% of % jobs cannot have differed in one comparison', differing, compared
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO drift_checks AS known (projection, jobs, drifted, position, last_drift, checked_by)
  VALUES (of_projection, compared, differing, at_position, left(what_differs, 4000), session_user)
  ON CONFLICT (projection) DO UPDATE
     SET jobs = known.jobs + excluded.jobs, drifted = known.drifted + excluded.drifted, position = excluded.position,
         checked_at = clock_timestamp(), checked_by = session_user,
           last_drift = coalesce(excluded.last_drift, known.last_drift);
END
$$;

-- =================================================================================================
-- Read models: the tables of projections. They belong to the ledger's owner, and projectors write
-- their rows.
--
-- Whoever owns a table can have others run code: triggers and constraints run with the rights of
-- who writes to it, policies and rules with those of who reads it. So a projector makes a table in
-- a schema beside the ledger's, and the functions here take it over after they have looked at what
-- would come with it.
-- =================================================================================================

-- The tables that were taken over. projections.tables is what projectors say; this is what is so.
CREATE TABLE read_models (
    name text NOT NULL COLLATE "C"
);
ALTER TABLE read_models ADD CONSTRAINT read_models_pkey PRIMARY KEY (name);
CREATE TRIGGER read_models_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON read_models
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE read_models ENABLE ALWAYS TRIGGER read_models_not_prepared;

-- What a table, its indexes, its constraints and its defaults use that a stranger owns, in words. A
-- stranger is neither a superuser nor a member of the ledger's owner.
CREATE FUNCTION foreign_dependencies(model regclass) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
  WITH RECURSIVE part (classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, model::oid
    UNION
    SELECT d.classid, d.objid
      FROM part JOIN pg_depend AS d ON d.refclassid = part.classid AND d.refobjid = part.objid
     WHERE d.deptype IN ('a', 'i')
  ),
  used AS (
    SELECT DISTINCT d.refclassid AS classid, d.refobjid AS objid, d.refobjsubid AS column_number
      FROM part JOIN pg_depend AS d ON d.classid = part.classid AND d.objid = part.objid
     WHERE (d.refclassid, d.refobjid) NOT IN (SELECT part.classid, part.objid FROM part)
  ),
  owned AS (
    SELECT used.*, coalesce(
             (SELECT proowner FROM pg_proc WHERE classid = 'pg_proc'::regclass AND oid = objid),
             (SELECT typowner FROM pg_type WHERE classid = 'pg_type'::regclass AND oid = objid),
             (SELECT oprowner FROM pg_operator WHERE classid = 'pg_operator'::regclass AND oid = objid),
             (SELECT opcowner FROM pg_opclass WHERE classid = 'pg_opclass'::regclass AND oid = objid),
             (SELECT opfowner FROM pg_opfamily WHERE classid = 'pg_opfamily'::regclass AND oid = objid),
             (SELECT collowner FROM pg_collation WHERE classid = 'pg_collation'::regclass AND oid = objid),
             (SELECT relowner FROM pg_class WHERE classid = 'pg_class'::regclass AND oid = objid)) AS owner
      FROM used
  )
  SELECT pg_describe_object(classid, objid, column_number) || ' of ' || pg_get_userbyid(owner)
    FROM owned
   WHERE NOT pg_has_role(owner, (current_schema() || '_owner')::regrole, 'MEMBER')
$$;

-- Gives tables of LEDGER_projector to the owner, for good: nobody else can give them triggers,
-- policies or rules from here on. Each has to be a plain table that runs no stranger's code, except
-- for what somebody gave to the table that it replaces, such as an index. They may refer to each
-- other and to nothing else.
CREATE FUNCTION take_ownership(models regclass[], in_place_of regclass[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $_$
DECLARE
  owner   CONSTANT text := current_schema() || '_owner';
  model   regclass;
  found   record;
  problem text;
BEGIN
  -- ALTER TABLE locks the table, so nothing is added to any of them after the checks.
  FOREACH model IN ARRAY models LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO %I', model, owner);
    -- GRANT takes no lock, only the rows of the catalog that it changes. So each is changed here,
    -- too: a grant that is under way then fails, or is seen and taken back below.
    EXECUTE coalesce((
      SELECT format('GRANT SELECT (%1$s) ON %2$s TO %3$I; REVOKE SELECT (%1$s) ON %2$s FROM %3$I',
                    string_agg(quote_ident(attname), ', '), model, owner)
        FROM pg_attribute WHERE attrelid = model AND attnum > 0 AND NOT attisdropped
      HAVING count(*) > 0), 'SELECT');
  END LOOP;

  SELECT stray.model, stray.problem INTO model, problem FROM stray_reference(models) AS stray;
  IF problem IS NULL THEN
    SELECT taken.model, finding.problem
      INTO model, problem
      FROM unnest(models, in_place_of) AS taken (model, replaced)
      JOIN pg_class ON pg_class.oid = taken.model,
           LATERAL (SELECT CASE
             -- The statements above name the tables, and somebody may have exchanged two names.
             WHEN relowner <> owner::regrole THEN 'it was renamed meanwhile'
             WHEN relkind <> 'r' OR relispartition
               OR EXISTS (SELECT FROM pg_inherits WHERE taken.model IN (inhrelid, inhparent))
               THEN 'it is not a plain table'
             WHEN unsafe_function(taken.model) IS NOT NULL
               THEN 'an expression of it calls ' || unsafe_function(taken.model)
             WHEN EXISTS (SELECT FROM pg_cast JOIN pg_type AS row ON row.typrelid = taken.model
                           WHERE castsource IN (row.oid, row.typarray) OR casttarget IN (row.oid, row.typarray))
               THEN 'its row type has a cast'
             WHEN relpersistence <> 'p' THEN 'it is UNLOGGED, and would be empty after a crash'
             WHEN relhasrules THEN 'it has rules'
             WHEN relrowsecurity OR relforcerowsecurity
               OR EXISTS (SELECT FROM pg_policy WHERE polrelid = taken.model)
               THEN 'it has row security'
             WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = taken.model AND NOT tgisinternal)
               THEN 'it has triggers'
             WHEN EXISTS (SELECT FROM pg_constraint
                           WHERE conrelid = taken.model AND contype = 'f' AND condeferrable)
               -- A swap could not move a table whose rows are still to be checked.
               THEN 'it has a foreign key that is checked at the end of a transaction'
             ELSE (
               SELECT 'it uses the ' || min(use)
                 FROM (SELECT foreign_dependencies(taken.model) EXCEPT SELECT foreign_dependencies(replaced))
                        AS foreign_use (use))
           END) AS finding (problem)
     WHERE finding.problem IS NOT NULL
     LIMIT 1;
  END IF;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION 'the table % cannot be a read model: %', model, problem
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Its schema.sql makes tables and indexes of what Postgres or the ledger''s owner has. Triggers '
                   'and policies are given by the owner, afterwards.';
  END IF;

  -- What their maker has granted for references and triggers, the owner does not grant.
  FOR found IN
    SELECT DISTINCT oid::regclass AS model,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
      FROM (SELECT oid, relacl AS acl FROM pg_class WHERE oid = ANY (models)
            UNION ALL
            SELECT attrelid, attacl FROM pg_attribute WHERE attrelid = ANY (models)) AS granted,
           aclexplode(acl)
     WHERE grantee <> owner::regrole
  LOOP
    EXECUTE format('REVOKE TRIGGER, REFERENCES ON %s FROM %s CASCADE', found.model, found.grantee);
    EXECUTE format('REVOKE GRANT OPTION FOR ALL ON %s FROM %s CASCADE', found.model, found.grantee);
  END LOOP;
END
$_$;

-- As before, and looks at the table again: the statement names it, and somebody may have exchanged
-- two names while it waited for a lock.
CREATE FUNCTION install_read_model(fresh regclass, name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s SET SCHEMA %I', fresh, current_schema());
  IF NOT EXISTS (SELECT FROM pg_class
                  WHERE oid = fresh AND relname = name AND relnamespace = current_schema()::regnamespace
                    AND relowner = (current_schema() || '_owner')::regrole) THEN
    RAISE EXCEPTION 'the table % cannot be a read model: it was renamed meanwhile', name
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO read_models VALUES (name) ON CONFLICT DO NOTHING;
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I.%I TO %I',
                 current_schema(), name, current_schema() || '_projector');
  EXECUTE format('GRANT SELECT ON %I.%I TO %I', current_schema(), name, current_schema() || '_reader');
END
$$;

-- Gives a table what somebody has given to the one that it replaces: grants, of columns too, row
-- security and its policies. Triggers are returned as statements, because their texts name the
-- table by the place where it will be.
CREATE FUNCTION copy_rights(old regclass, fresh regclass, OUT triggers text[]) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT privilege_type, is_grantable, columns,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
      FROM (SELECT relacl AS acl, relowner, null AS columns FROM pg_class WHERE oid = old
            UNION ALL
            SELECT attacl, relowner, format('(%I)', attname)
              FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
             WHERE attrelid = old AND attnum > 0 AND NOT attisdropped
               AND attname IN (SELECT attname FROM pg_attribute WHERE attrelid = fresh)) AS granted,
           aclexplode(acl)
     WHERE grantee <> relowner
  LOOP
    EXECUTE format('GRANT %s %s ON %s TO %s %s', found.privilege_type, found.columns, fresh, found.grantee,
                   CASE WHEN found.is_grantable THEN 'WITH GRANT OPTION' END);
  END LOOP;

  FOR found IN
    SELECT p.polname, CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END AS kind,
           CASE polcmd
             WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL'
           END AS command,
           (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
              FROM unnest(polroles) AS role) AS roles,
           ' USING (' || pg_get_expr(polqual, polrelid) || ')' AS condition,
           ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')' AS checked
      FROM pg_policy AS p
     WHERE polrelid = old
       AND NOT EXISTS (SELECT FROM pg_policy AS own WHERE own.polrelid = fresh AND own.polname = p.polname)
  LOOP
    EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s',
                   found.polname, fresh, found.kind, found.command, found.roles, found.condition, found.checked);
  END LOOP;
  SELECT relrowsecurity, relforcerowsecurity INTO found FROM pg_class WHERE oid = old;
  IF found.relrowsecurity THEN EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', fresh); END IF;
  IF found.relforcerowsecurity THEN EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', fresh); END IF;

  SELECT array_agg(statement ORDER BY t.tgname, place)
    INTO triggers
    FROM pg_trigger AS t,
         LATERAL (VALUES
           (1, pg_get_triggerdef(t.oid)),
           (2, format('ALTER TABLE %s %s TRIGGER %I', old,
                      CASE t.tgenabled
                        WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
                        ELSE 'ENABLE'
                      END, t.tgname))
         ) AS made (place, statement)
   WHERE tgrelid = old AND NOT tgisinternal
     AND NOT EXISTS (SELECT FROM pg_trigger AS own WHERE own.tgrelid = fresh AND own.tgname = t.tgname);
END
$$;

-- Makes a read model of a table in a schema beside the ledger's.
CREATE FUNCTION adopt_table(from_schema text, name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  PERFORM adopt_tables(from_schema, ARRAY[name]);
END
$$;

-- Puts the tables of these names in fresh_schema in the place of the ledger's, and the ledger's
-- into aside_schema. Where there is no fresh table, the old one only goes. Touches read models and
-- nothing else. Foreign keys between the tables on one side stay as they are; none is left between
-- the two sides.
CREATE FUNCTION exchange_tables(fresh_schema text, names text[], aside_schema text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  home CONSTANT text := current_schema();
  old  CONSTANT regclass[] := ARRAY(
    SELECT to_regclass(format('%I.%I', home, name))
      FROM unnest(names) WITH ORDINALITY AS named (name, place)
     ORDER BY place);
  fresh     regclass[];
  model     text;
  problem   text;
  triggers  text[];
  statement text;
BEGIN
  PERFORM require_present_snapshot();
  IF aside_schema = home THEN
    RAISE EXCEPTION 'read models are put aside into another schema than %', home
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  SELECT relname INTO model FROM pg_class
   WHERE oid = ANY (old) AND NOT EXISTS (SELECT FROM read_models WHERE read_models.name = relname) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '%.% is not replaced: it is not a read model', home, model
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  SELECT format('the foreign key %I of %s refers to %s', conname, conrelid::regclass, confrelid::regclass)
    INTO problem
    FROM pg_constraint
   WHERE contype = 'f' AND confrelid = ANY (old) AND conrelid <> ALL (array_remove(old, null))
      OR contype = 'f' AND conrelid = ANY (old) AND confrelid <> ALL (array_remove(old, null))
         AND connamespace = home::regnamespace
         AND confrelid IN (SELECT oid FROM pg_class WHERE relnamespace = home::regnamespace)
   ORDER BY conname
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the tables cannot be replaced: %', problem
      USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Tables that refer to each other are replaced together.';
  END IF;
  fresh := claim_fresh_tables(fresh_schema, names, old);
  FOR place IN 1..cardinality(names) LOOP
    triggers := CASE WHEN old[place] IS NOT NULL AND fresh[place] IS NOT NULL
                  THEN copy_rights(old[place], fresh[place]) END;
    IF old[place] IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %s SET SCHEMA %I', old[place], aside_schema);
      DELETE FROM read_models WHERE read_models.name = names[place];
    END IF;
    IF fresh[place] IS NOT NULL THEN
      PERFORM install_read_model(fresh[place], names[place]);
    END IF;
    FOREACH statement IN ARRAY coalesce(triggers, '{}') LOOP
      EXECUTE statement;
    END LOOP;
  END LOOP;
END
$$;

-- What would still refer to the tables of these names after they were replaced. While there is any,
-- they cannot be swapped. Views are made anew, and what belongs to a table goes with it.
CREATE FUNCTION swap_obstacles(names text[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  WITH used AS (
    SELECT pg_class.oid, pg_class.relname, pg_class.reltype
      FROM pg_class
     WHERE pg_class.relnamespace = current_schema()::regnamespace AND pg_class.relname = ANY (names)
  )
  SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on the table ' || used.relname
    FROM used
    JOIN pg_depend AS d
      ON d.refclassid = 'pg_class'::regclass AND d.refobjid = used.oid
      OR d.refclassid = 'pg_type'::regclass
        AND d.refobjid IN (used.reltype, (SELECT typarray FROM pg_type WHERE pg_type.oid = used.reltype))
   WHERE d.deptype = 'n'
     AND NOT EXISTS (SELECT FROM pg_rewrite JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class
                      WHERE d.classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = d.objid AND view.relkind = 'v')
     AND NOT EXISTS (SELECT FROM pg_constraint
                      WHERE d.classid = 'pg_constraint'::regclass AND pg_constraint.oid = d.objid
                        AND conrelid IN (SELECT used.oid FROM used))
     AND NOT EXISTS (SELECT FROM pg_trigger
                      WHERE d.classid = 'pg_trigger'::regclass AND pg_trigger.oid = d.objid
                        AND tgrelid IN (SELECT used.oid FROM used))
     AND NOT EXISTS (SELECT FROM pg_policy
                      WHERE d.classid = 'pg_policy'::regclass AND pg_policy.oid = d.objid
                        AND polrelid IN (SELECT used.oid FROM used))
   ORDER BY 1;
END;

-- The statements that make, for fresh_schema.name, the indexes that somebody added to the ledger's
-- table of that name.
CREATE FUNCTION added_indexes(fresh_schema text, name text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT replace(pg_get_indexdef(indexrelid), format(' ON %I.%I ', current_schema(), name),
      format(' ON %I.%I ', fresh_schema, name))
    FROM pg_index
    JOIN pg_class AS index ON index.oid = indexrelid
   WHERE indrelid = to_regclass(format('%I.%I', current_schema(), name))
     AND indisvalid
     AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
     AND to_regclass(format('%I.%I', fresh_schema, index.relname)) IS NULL
   ORDER BY index.relname;
END;

-- Swaps all tables of a projection, or none, in the caller's transaction. The views that read them
-- are made anew with the caller's rights, because they may be anybody's.
CREATE FUNCTION swap_tables(fresh_schema text, names text[], aside_schema text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  home     CONSTANT text := current_schema();
  obstacle CONSTANT text := (SELECT o FROM swap_obstacles(names) AS o LIMIT 1);
  found      record;
  views      text[] := '{}';
  definition text;
BEGIN
  IF obstacle IS NOT NULL THEN
    RAISE EXCEPTION 'the tables cannot be replaced: %', obstacle
      USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop it, and make it again afterwards.';
  END IF;
  FOR found IN
    SELECT DISTINCT replaced.name, view.oid::regclass AS view,
           ' WITH (' || array_to_string(view.reloptions, ', ') || ')' AS options,
          to_regclass(format('%I.%I', fresh_schema, replaced.name)) IS NULL AS only_goes
      FROM unnest(names) AS replaced (name)
      JOIN pg_depend ON pg_depend.refclassid = 'pg_class'::regclass
        AND pg_depend.refobjid = to_regclass(format('%I.%I', home, replaced.name))
      JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid AND pg_depend.classid = 'pg_rewrite'::regclass
      JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class AND view.relkind = 'v'
  LOOP
    IF found.only_goes THEN
      RAISE EXCEPTION 'the table % cannot go: the view % reads it', found.name, found.view
        USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop the view.';
    END IF;
    views := views || format('CREATE OR REPLACE VIEW %s%s AS %s', found.view, found.options,
      pg_get_viewdef(found.view));
  END LOOP;
  PERFORM exchange_tables(fresh_schema, names, aside_schema);
  FOREACH definition IN ARRAY views LOOP
    EXECUTE definition;
  END LOOP;
END
$$;

-- =================================================================================================
-- Import: events that were numbered elsewhere, by every rule that append() keeps. Only the owner
-- may import, because whoever does it says when events were recorded.
-- =================================================================================================

-- Begins an import, or continues one, and returns the head. A copy is the same log, so it has the
-- same epoch: an empty ledger takes the file's, and any other must have it already. The file must
-- begin within the log or directly behind it.
CREATE FUNCTION begin_import(of_epoch uuid, first_position bigint,
    is_compared boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    SET "jobledger.timeline" TO 'import'
    AS $$
DECLARE
  here uuid;
BEGIN
  -- A client that was killed may have sent lines that are still being written. The head is known
  -- after that.
  PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || ' import', 0));
  PERFORM lock_log();
  here := (SELECT epoch FROM ledger);
  IF first_position > head() + 1 THEN
    RAISE EXCEPTION 'the file begins at position %, and the ledger ends at %', first_position, head()
      USING ERRCODE = 'JL020',
        HINT = format('First import what comes between: jobledger export --from %s --to %s', head() + 1,
          first_position - 1);
  ELSIF head() = 0 THEN
    IF here <> of_epoch THEN
      PERFORM add_epoch(of_epoch, 'taken over from the imported file', true);
    END IF;
  ELSIF here <> of_epoch AND (NOT is_compared OR has_left_epoch(of_epoch)) THEN
    RAISE EXCEPTION 'the ledger holds another log: its epoch is %, that of the file %', here, of_epoch
      USING ERRCODE = 'JL020',
        HINT = 'Import into an empty ledger: choose another JOBLEDGER_SCHEMA and run jobledger migrate.';
  ELSIF NOT EXISTS (SELECT FROM epochs WHERE epoch = of_epoch) THEN
    PERFORM add_epoch(of_epoch, 'taken over from the imported file', true);
  END IF;
  RETURN head();
END
$$;

-- An event as a line of an export: JSON, with data and metadata as JSON strings that hold their
-- text to the letter.
CREATE FUNCTION exported_line(e events) RETURNS text
LANGUAGE sql STABLE
RETURN '{"position":' || e.position || ',"event_id":"' || e.event_id || '","category":' || to_json(e.category)
  || ',"stream_id":' || to_json(e.stream_id::text) || ',"version":' || e.version || ',"type":' || to_json(e.type::text)
  || ',"occurred_at":' || coalesce(to_json(e.occurred_at)::text, 'null') || ',"recorded_at":' || to_json(e.recorded_at)
  || ',"data":' || to_json(e.data::text) || ',"metadata":' || to_json(e.metadata::text) || '}';

-- What depends on the events alone, by ordinal: as check_event() says it.
CREATE FUNCTION check_imported(jobs text[], types text[], data text[], metadata text[],
    occurred_ats timestamptz[], OUT messages text[], OUT totals integer[],
    OUT completeds integer[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
BEGIN
  -- By far the most events pass the quick check.
  SELECT array_agg(refusal.message ORDER BY e.ordinal),
         array_agg(CASE WHEN (e.finding).is_plain THEN (e.finding).total ELSE refusal.total END ORDER BY e.ordinal),
         array_agg(CASE WHEN (e.finding).is_plain THEN (e.finding).completed ELSE refusal.completed END
                   ORDER BY e.ordinal)
    INTO messages, totals, completeds
    FROM (
      SELECT e.*,
             CASE
               WHEN (is_stream_id(e.job) AND octet_length(e.data) <= longest_data() AND e.metadata IS NOT NULL
                     AND is_event_time(e.occurred_at) IS NOT FALSE AND is_plain_metadata(e.metadata)) IS NOT TRUE
               THEN (false, null, null)::quick_finding
               WHEN is_mere_progress(e.type, e.data::jsonb)
               THEN (true, null, (e.data::jsonb -> 'completed')::integer)::quick_finding
               ELSE quick_check(e.type, e.data::jsonb)
             END AS finding
        FROM unnest(jobs, types, data, metadata, occurred_ats)
               WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, ordinal)
      OFFSET 0) AS e
    LEFT JOIN LATERAL (
      SELECT found.*
        FROM check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'),
                         e.occurred_at, null) AS found
       WHERE (e.finding).is_plain IS NOT TRUE
      OFFSET 0) AS refusal ON true;  -- so that check_event() is called for those alone
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  -- Some data is not JSON that the ledger takes. check_event() says which, and why.
  SELECT array_agg(finding.message ORDER BY e.ordinal), array_agg(finding.total ORDER BY e.ordinal),
         array_agg(finding.completed ORDER BY e.ordinal)
    INTO messages, totals, completeds
    FROM unnest(jobs, types, data, metadata, occurred_ats)
           WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, ordinal),
         LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'),
                             e.occurred_at, null) AS finding;
END
$$;

-- Takes in events, each a line as exported_line() writes it. The lines continue the log, or all of
-- them are refused, with the first that is wrong. A line that the log would give back differently
-- is refused too: so whatever is in the log was in the file. Returns the new head.
CREATE FUNCTION import_events(lines text[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    SET "jobledger.appending" TO 'on'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET standard_conforming_strings TO 'on'
    SET "TimeZone" TO 'UTC'
    AS $$
#variable_conflict use_column
DECLARE
  positions     bigint[];
  ids           uuid[];
  categories    text[];
  jobs          text[];
  versions      integer[];
  types         text[];
  documents     text[];
  contexts      text[];
  occurred_ats  timestamptz[];
  recorded_ats  timestamptz[];
  checked       checked_import;
  last          record;
  wrong_at      bigint;
  wrong         text;
  is_mixed      boolean;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended(current_schema() || ' import', 0));
  SELECT array_agg(e.position), array_agg(e.event_id), array_agg(e.category), array_agg(e.stream_id),
         array_agg(e.version), array_agg(e.type), array_agg(e.data), array_agg(e.metadata),
         array_agg(e.occurred_at), array_agg(e.recorded_at)
    INTO positions, ids, categories, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats
    FROM unnest(lines) AS line,
         json_to_record(line::json) AS e (
           position bigint, event_id uuid, category text, stream_id text, version integer, type text,
           data text, metadata text, occurred_at timestamptz, recorded_at timestamptz);
  is_mixed := EXISTS (SELECT FROM unnest(categories) AS category WHERE category IS DISTINCT FROM 'job');
  IF is_mixed THEN
    LOCK TABLE category_types IN ACCESS SHARE MODE;  -- as append_to_streams() does
  ELSE
    checked := check_imported(jobs, types, documents, contexts, occurred_ats);
  END IF;

  -- Several calls may be under way, of lines that follow each other. Each is checked while the one
  -- before is written, and waits for it here.
  IF head() < positions[1] - 1 THEN
    PERFORM await_events(positions[1] - 2, '10 s');
  END IF;
  PERFORM lock_log();
  last := last_event();
  IF is_mixed THEN
    SELECT * INTO wrong_at, wrong
      FROM import_each(positions, ids, categories, jobs, versions, types, documents, contexts, occurred_ats,
                       recorded_ats);
  ELSE
    SELECT * INTO wrong_at, wrong
      FROM import_jobs(positions, ids, jobs, versions, types, documents, contexts, occurred_ats, recorded_ats, checked);
  END IF;
  IF wrong IS NULL THEN
    SELECT min(e.position), 'its line is not written as jobledger export writes it'
      INTO wrong_at, wrong
      FROM events AS e
      JOIN unnest(lines) WITH ORDINALITY AS given (line, ordinal) ON given.ordinal = e.position - last.head
     WHERE e.position BETWEEN last.head + 1 AND last.head + cardinality(lines) AND given.line <> exported_line(e);
  END IF;
  IF wrong_at IS NOT NULL THEN
    RAISE EXCEPTION 'the event for position %: %', wrong_at, wrong USING ERRCODE = 'JL020';
  END IF;
  RETURN last.head + cardinality(lines);
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'an event id comes twice: %', sqlerrm USING ERRCODE = 'JL020';
END
$$;

-- =================================================================================================
-- The seal: a Merkle tree over the log, and the signed checkpoints of it.
-- =================================================================================================

-- The full tiles of the tree, 256 hashes of 32 bytes each. Level 0 has the hashes of events. A full
-- tile never changes.
CREATE TABLE seal_tiles (
    level smallint NOT NULL,
    number bigint NOT NULL,
    hashes bytea NOT NULL,
    CONSTRAINT seal_tiles_full CHECK ((octet_length(hashes) = 8192)),
    CONSTRAINT seal_tiles_level CHECK (((level >= 0) AND (level <= 7))),
    CONSTRAINT seal_tiles_number_countable CHECK (((number >= '-4611686018427387903'::bigint) AND (number <= '4611686018427387903'::bigint))),
    CONSTRAINT seal_tiles_number_not_negative CHECK ((number >= 0))
);
ALTER TABLE ONLY seal_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;
ALTER TABLE seal_tiles ADD CONSTRAINT seal_tiles_pkey PRIMARY KEY (level, number);
CREATE TRIGGER seal_tiles_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON seal_tiles
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE seal_tiles ENABLE ALWAYS TRIGGER seal_tiles_not_prepared;
CREATE TRIGGER seal_tiles_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON seal_tiles
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE seal_tiles ENABLE ALWAYS TRIGGER seal_tiles_only_grow;

-- What was signed, as signed notes. A key that was replaced may come back at a size that it has
-- signed before. Then that size has two checkpoints, and the one sealed last counts.
CREATE TABLE seal_checkpoints (
    size bigint NOT NULL,
    signer text NOT NULL,
    note text NOT NULL,
    sealed_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT seal_checkpoints_size_countable CHECK (((size >= '-4611686018427387903'::bigint) AND (size <= '4611686018427387903'::bigint))),
    CONSTRAINT seal_checkpoints_size_positive CHECK ((size > 0))
);
ALTER TABLE seal_checkpoints ADD CONSTRAINT seal_checkpoints_pkey PRIMARY KEY (size, sealed_at);
CREATE TRIGGER seal_checkpoints_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON seal_checkpoints
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE seal_checkpoints ENABLE ALWAYS TRIGGER seal_checkpoints_not_prepared;
CREATE TRIGGER seal_checkpoints_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON seal_checkpoints
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE seal_checkpoints ENABLE ALWAYS TRIGGER seal_checkpoints_only_grow;

-- Where the sealer stands, in one row.
CREATE TABLE seal (
    only_one boolean DEFAULT true NOT NULL,
    size bigint DEFAULT 0 NOT NULL,
    edge bytea DEFAULT '\x'::bytea NOT NULL,
    stopped text,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT seal_only_one CHECK (only_one),
    CONSTRAINT seal_size_countable CHECK (((size >= '-4611686018427387903'::bigint) AND (size <= '4611686018427387903'::bigint))),
    CONSTRAINT seal_size_not_negative CHECK ((size >= 0))
);
ALTER TABLE seal ADD CONSTRAINT seal_pkey PRIMARY KEY (only_one);
CREATE TRIGGER seal_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON seal
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE seal ENABLE ALWAYS TRIGGER seal_not_prepared;

-- Lets the tree grow, and keeps the checkpoint of it: both or neither. Returns false where the tree
-- is not what the sealer believes, or the ledger has another epoch: another sealer has moved it.
-- With the owner's rights, so that a sealer has none to the tables.
CREATE FUNCTION add_to_seal(
  of_epoch uuid, from_size bigint, to_size bigint, new_edge bytea, tile_levels integer[], tile_numbers bigint[],
    tile_hashes bytea[], signed_by text, signed_note text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF to_size > head() THEN
    RAISE EXCEPTION 'position % is not there yet: the log ends at %', to_size, head()
      USING ERRCODE = 'invalid_parameter_value';

-- Records why the sealer does not go on; null when it does.
CREATE FUNCTION stop_seal(reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  UPDATE seal SET stopped = reason, updated_at = clock_timestamp() WHERE stopped IS DISTINCT FROM reason;
END;

-- =================================================================================================
-- Who may use the HTTP service, and for what.
-- =================================================================================================

-- A token is shown once, when it is made. Only the hash of its secret is kept: 256 random bits need
-- no salt and no slow hash.
CREATE TABLE tokens (
    id text NOT NULL,
    hash bytea NOT NULL,
    name text DEFAULT '' NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT tokens_hash_length CHECK ((length(hash) = 32)),
    CONSTRAINT tokens_id_form CHECK ((id ~ '^[0-9a-f]{12}$')),
    CONSTRAINT tokens_name_length CHECK ((length(name) <= 200)),
    CONSTRAINT tokens_scopes CHECK (((cardinality(scopes) > 0) AND (scopes <@ ARRAY['append', 'read', 'admin']) AND (array_position(scopes, NULL::text) IS NULL)))
);
ALTER TABLE tokens ADD CONSTRAINT tokens_hash_key UNIQUE (hash);
ALTER TABLE tokens ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);
CREATE TRIGGER tokens_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON tokens
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE tokens ENABLE ALWAYS TRIGGER tokens_not_prepared;

-- What a token may be used for; null where there is none with this hash, or it was revoked. A
-- server needs no more than this, and a caller learns nothing about tokens that it does not hold.
CREATE FUNCTION scopes_of_token(token_id text, token_hash bytea) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT scopes FROM tokens WHERE id = token_id AND hash = token_hash AND revoked_at IS NULL;
END;

-- The name of a token, for readers of refusals. Null where the token has none, or does not exist.
CREATE FUNCTION token_name(token_id text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT nullif(name, '') FROM tokens WHERE id = token_id;
END;

-- =================================================================================================
-- What the service has refused: who tried what, from where, and why it was refused. It is not part
-- of the log, because nothing happened.
--
-- Anybody who reaches the service can cause refusals, without a token. So what is kept has a limit
-- a day, by address, of all strangers, and by token; and it ends after some days. A trigger keeps
-- the limits, whoever inserts. What is left out is counted.
-- =================================================================================================

-- Equal refusals within a second are one row, with how often.
CREATE TABLE refusals (
    number bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    times bigint NOT NULL,
    token text,
    peer text,
    method text NOT NULL,
    path text NOT NULL,
    actor text,
    job text,
    type text,
    event_id uuid,
    code text NOT NULL,
    detail text NOT NULL,
    noted_by text DEFAULT SESSION_USER,
    category text,
    CONSTRAINT refusals_category_length CHECK ((length(category) <= 100)),
    CONSTRAINT refusals_code_form CHECK ((code ~ '^[a-z][a-z0-9_]{0,63}$')),
    CONSTRAINT refusals_first_at_bounded CHECK ((first_at >= (last_at - '01:00:00'::interval))),
    CONSTRAINT refusals_lengths CHECK (((length(token) <= 100) AND (length(peer) <= 100) AND (length(method) <= 100) AND (length(path) <= 300) AND (length(actor) <= 300) AND (length(job) <= 300) AND (length(type) <= 300) AND (length(detail) <= 300))),
    CONSTRAINT refusals_noted_by CHECK ((noted_by IS NOT NULL)),
    CONSTRAINT refusals_number_countable CHECK (((number >= '-4611686018427387903'::bigint) AND (number <= '4611686018427387903'::bigint))),
    CONSTRAINT refusals_order CHECK ((first_at <= last_at)),
    CONSTRAINT refusals_times_bounded CHECK ((times <= 1000000000)),
    CONSTRAINT refusals_times_countable CHECK (((times >= '-4611686018427387903'::bigint) AND (times <= '4611686018427387903'::bigint))),
    CONSTRAINT refusals_times_positive CHECK ((times > 0))
);
ALTER TABLE refusals ADD CONSTRAINT refusals_pkey PRIMARY KEY (number);
CREATE TRIGGER refusals_bounded BEFORE INSERT ON refusals
    FOR EACH ROW
    EXECUTE FUNCTION bound_refusals();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_bounded;
CREATE TRIGGER refusals_kept BEFORE DELETE ON refusals
    FOR EACH ROW
    EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_kept;
CREATE TRIGGER refusals_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON refusals
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_not_prepared;
CREATE TRIGGER refusals_only_grow BEFORE UPDATE OR TRUNCATE ON refusals
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE refusals ENABLE ALWAYS TRIGGER refusals_only_grow;

CREATE INDEX refusals_by_actor ON refusals USING btree (actor, number) WHERE (actor IS NOT NULL);

CREATE INDEX refusals_by_job ON refusals USING btree (job, number) WHERE (job IS NOT NULL);

CREATE INDEX refusals_by_token ON refusals USING btree (token, number) WHERE (token IS NOT NULL);

CREATE INDEX refusals_by_code ON refusals USING btree (code, number);

-- forget_refusals() finds old rows by it.
CREATE INDEX refusals_by_age ON refusals USING btree (last_at);

-- How much is kept, and for how long. One row, which the ledger's owner may change.
CREATE TABLE refusal_limits (
    days_kept integer DEFAULT 90 NOT NULL,
    rows_of_address integer DEFAULT 1000 NOT NULL,
    rows_of_strangers integer DEFAULT 20000 NOT NULL,
    rows_of_token integer DEFAULT 20000 NOT NULL,
    CONSTRAINT refusal_limits_address CHECK ((rows_of_address >= 0)),
    CONSTRAINT refusal_limits_days CHECK (((days_kept >= 1) AND (days_kept <= 36500))),
    CONSTRAINT refusal_limits_strangers CHECK ((rows_of_strangers >= 0)),
    CONSTRAINT refusal_limits_token CHECK ((rows_of_token >= 0))
);

CREATE UNIQUE INDEX refusal_limits_one_row ON refusal_limits USING btree ((true));

-- How many rows each source has had, by day (UTC), and how many refusals of it have no row. The
-- source '' is all strangers together.
CREATE TABLE refusal_days (
    day date NOT NULL,
    source text NOT NULL,
    rows bigint DEFAULT 0 NOT NULL,
    left_out bigint DEFAULT 0 NOT NULL,
    CONSTRAINT refusal_days_left_out_countable CHECK (((left_out >= '-4611686018427387903'::bigint) AND (left_out <= '4611686018427387903'::bigint))),
    CONSTRAINT refusal_days_not_negative CHECK (((rows >= 0) AND (left_out >= 0))),
    CONSTRAINT refusal_days_rows_countable CHECK (((rows >= '-4611686018427387903'::bigint) AND (rows <= '4611686018427387903'::bigint)))
);
ALTER TABLE refusal_days ADD CONSTRAINT refusal_days_pkey PRIMARY KEY (day, source);
CREATE TRIGGER refusal_days_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON refusal_days
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE refusal_days ENABLE ALWAYS TRIGGER refusal_days_not_prepared;

-- The source of a refusal without a valid token. An IPv6 /64 is usually one customer's.
-- All texts that are not addresses are one source.
CREATE FUNCTION refusal_address(peer text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
DECLARE
  address inet;

-- Keeps the limits.
CREATE FUNCTION bound_refusals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  today      CONSTANT date := (clock_timestamp() AT TIME ZONE 'UTC')::date;

-- Lets nothing be removed before its time.
CREATE FUNCTION refuse_early_removal() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  IF OLD.last_at >= clock_timestamp() - make_interval(days => (SELECT days_kept FROM refusal_limits)) THEN
    RAISE EXCEPTION '% of refusal % refused: it is a record, and kept for % days', TG_OP, OLD.number,
      (SELECT days_kept FROM refusal_limits)
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END
$$;

-- Records refusals: parallel arrays, with an element for each refusal. Times are milliseconds ago,
-- so that the clock is the database's. With the owner's rights, so that who may append need not
-- read refusals. `jobs` are ids of streams, of the categories beside them. A service that is older
-- than those gives none.
CREATE FUNCTION note_refusals(firsts_ago bigint[], lasts_ago bigint[], counts bigint[],
    tokens text[], peers text[], methods text[], paths text[], actors text[], jobs text[],
    types text[], event_ids uuid[], codes text[], details text[],
    categories text[] DEFAULT NULL::text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    SET lock_timeout TO '10s'
    AS $$
DECLARE
  now   CONSTANT timestamptz := clock_timestamp();
  -- In milliseconds.
  hour  CONSTANT bigint := 3600000;
  -- The length of the longest array: unnest pads the others with nulls.
  count CONSTANT integer := (
    SELECT max(coalesce(cardinality(a), 0))
      FROM (VALUES (firsts_ago::text[]), (lasts_ago::text[]), (counts::text[]), (tokens), (peers), (methods), (paths),
                   (actors), (jobs), (types), (event_ids::text[]), (codes), (details), (categories)) AS given (a));
BEGIN
  IF count > 2000 THEN
    RAISE EXCEPTION '% refusals at once: at most 2000 are noted by one call', count
      USING ERRCODE = 'program_limit_exceeded', HINT = 'Note them by several calls.';
  END IF;
  -- The rows of the day stay locked until the transaction ends. A session that stays idle for 5 s
  -- is ended.
  IF current_setting('idle_in_transaction_session_timeout')::interval NOT BETWEEN '1 ms' AND '5 s' THEN
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
  END IF;
  INSERT INTO refusals (first_at, last_at, times, token, peer, method, path, actor, job, type, event_id, code, detail,
                        category)
  SELECT now - greatest(last, least(greatest(r.first_ago, 0), hour)) * interval '1 ms', now - last * interval '1 ms',
         least(r.times, 1000000000), left(r.token, 100), left(r.peer, 100), left(r.method, 100), left(r.path, 300),
         left(r.actor, 300), left(r.job, 300), left(r.type, 300), r.event_id, r.code, left(r.detail, 300),
         left(r.category, 100)
    FROM unnest(firsts_ago, lasts_ago, counts, tokens, peers, methods, paths, actors, jobs, types, event_ids,
                codes, details, categories)
           WITH ORDINALITY AS r (first_ago, last_ago, times, token, peer, method, path, actor, job, type, event_id,
                                 code, detail, category, place)
    CROSS JOIN LATERAL (SELECT least(greatest(r.last_ago, 0), hour) AS last) AS bounded
   ORDER BY r.place;
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the refusals of today locked for 10 s'
    USING ERRCODE = 'lock_not_available',
      HINT = 'These refusals were not written. Find it: SELECT * FROM pg_locks WHERE relation = '
             '''refusal_days''::regclass.';
END
$$;

-- Removes refusals that are older than they are kept for, 10,000 at a time, and returns how many.
-- Callers cannot say how old that is.
CREATE FUNCTION forget_refusals() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  DELETE FROM refusal_days
   WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - (SELECT days_kept FROM refusal_limits);
  WITH gone AS (
    DELETE FROM refusals
     WHERE number IN (
             SELECT number FROM refusals
              WHERE last_at < clock_timestamp() - make_interval(days => (SELECT days_kept FROM refusal_limits))
              ORDER BY last_at LIMIT 10000)
    RETURNING number)
  SELECT count(*) FROM gone;
END;

-- =================================================================================================
-- A role for each part of the ledger, with the least that it needs. docs/security.md has all of it
-- as a table. Roles belong to the whole server, so their names begin with the ledger's. None can
-- log in: grant them to the users of your services.
--
-- The ledger itself belongs to LEDGER_owner. So what runs with its owner's rights, as append does,
-- has a ledger's rights and no more, whoever migrated it; and another user can migrate the next
-- time.
-- =================================================================================================

-- Gives to LEDGER_owner what the current user has made here. A migration that makes something ends
-- with it.
CREATE FUNCTION hand_over() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  home  CONSTANT text := current_schema();
  owner CONSTANT text := home || '_owner';
  found record;
BEGIN
  EXECUTE format('ALTER SCHEMA %I OWNER TO %I', home, owner);
  FOR found IN
    SELECT c.relname FROM pg_class AS c
     WHERE c.relnamespace = home::regnamespace AND c.relkind IN ('r', 'v') AND c.relowner = current_user::regrole
  LOOP
    EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', home, found.relname, owner);
  END LOOP;
  FOR found IN
    SELECT oid::regprocedure AS signature FROM pg_proc WHERE pronamespace = home::regnamespace
        AND proowner = current_user::regrole
  LOOP
    EXECUTE format('ALTER ROUTINE %s OWNER TO %I', found.signature, owner);
  END LOOP;
  -- Domains and composite types; the row types of tables go with their tables.
  FOR found IN
    SELECT t.oid::regtype AS name, t.typtype = 'd' AS is_domain
      FROM pg_type AS t
      LEFT JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE t.typnamespace = home::regnamespace AND t.typowner = current_user::regrole
         AND (t.typtype = 'd' OR c.relkind = 'c')
  LOOP
    EXECUTE format('ALTER %s %s OWNER TO %I', CASE WHEN found.is_domain THEN 'DOMAIN'
      ELSE 'TYPE' END, found.name, owner);
  END LOOP;
END
$$;

-- =================================================================================================
-- What a dump leaves behind. Roles belong to the server, so a ledger that was restored on another
-- server has lost them, with all grants to them, the policies for them, and its owner. The ledger
-- remembers what that was, and `jobledger migrate` has it restore them.
-- =================================================================================================

-- Each row is a right as GRANT has it: `what` ON `object` TO `role`. OWNER is who owns the object,
-- MEMBER who has the rights of another role. A policy stands in `what` as a whole, without a role.
CREATE TABLE rights (
    object text NOT NULL,
    what text NOT NULL,
    role text NOT NULL
);
ALTER TABLE rights ADD CONSTRAINT rights_pkey PRIMARY KEY (object, what, role);

-- The rights of this ledger's roles, and what they own, as the catalogs have it.
CREATE FUNCTION rights_in_force() RETURNS SETOF rights
    LANGUAGE sql STABLE
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
  WITH home AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = current_schema()),
  own AS (SELECT r.oid, r.rolname::text AS name
            FROM pg_roles AS r, home
           -- By whole names: roles of other ledgers, and users, may begin like this ledger's name.
           WHERE r.rolname::text IN (SELECT home.nspname::text || '_' || part FROM pg_catalog.unnest(
                   '{owner,appender,reader,subscriber,relay,projector,sealer,auditor}'::text[]) AS part)),
  thing AS (
    SELECT 'SCHEMA ' || quote_ident(nspname::text) AS object, nspowner AS owner, nspacl AS acl, null::name AS attribute
      FROM home
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, c.relacl, null FROM pg_class AS c, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, a.attacl, a.attname
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v') AND a.attacl IS NOT NULL
    UNION ALL
    SELECT CASE WHEN p.prokind = 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || p.oid::regprocedure::text, p.proowner,
           p.proacl, null
      FROM pg_proc AS p, home
     WHERE p.pronamespace = home.oid
    UNION ALL
    -- Domains and composite types; the row types of tables go with their tables.
    SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || t.oid::regtype::text, t.typowner, null, null
      FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid, home
     WHERE t.typnamespace = home.oid AND (t.typtype = 'd' OR c.relkind = 'c')
  )
  SELECT DISTINCT thing.object, 'OWNER', own.name FROM thing JOIN own ON own.oid = thing.owner
  UNION ALL
  SELECT DISTINCT thing.object, a.privilege_type || coalesce(' (' || quote_ident(thing.attribute::text) || ')', ''),
         own.name
    FROM thing, aclexplode(thing.acl) AS a JOIN own ON own.oid = a.grantee WHERE a.grantee <> thing.owner
  UNION ALL
  SELECT DISTINCT 'ROLE ' || quote_ident(granted.name), 'MEMBER', own.name
    FROM pg_auth_members AS m JOIN own ON own.oid = m.member JOIN own AS granted ON granted.oid = m.roleid
  UNION ALL
  SELECT 'TABLE ' || quote_ident(p.tablename::text),
         pg_catalog.concat(
           'POLICY ', quote_ident(p.policyname::text), ' ON ', quote_ident(p.tablename::text), ' AS ', p.permissive,
           ' FOR ', p.cmd, ' TO ',
           (SELECT string_agg(CASE r WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(r::text) END, ', ')
              FROM pg_catalog.unnest(p.roles) AS r),
           ' USING (' || p.qual || ')', ' WITH CHECK (' || p.with_check || ')'), ''
    FROM pg_policies AS p, home WHERE p.schemaname = home.nspname
$$;

-- Remembers the rights as they are after the migration of this version. A runner of migrations
-- calls it after each, in the same transaction.
CREATE FUNCTION remember_rights(of_version text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
  DELETE FROM rights;
  INSERT INTO rights SELECT * FROM rights_in_force();
  INSERT INTO rights (object, what, role) VALUES ('VERSION', of_version, '');
$$;

-- What should be there: what is remembered of objects that still exist, and the rights to read
-- models, which came later.
CREATE FUNCTION rights_wanted() RETURNS SETOF rights
    LANGUAGE sql STABLE
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
  SELECT r.object, r.what, r.role FROM rights AS r
   WHERE CASE split_part(r.object, ' ', 1)
           WHEN 'VERSION'   THEN false
           WHEN 'TABLE'     THEN to_regclass(substr(r.object, 7)) IS NOT NULL
           WHEN 'FUNCTION'  THEN to_regprocedure(substr(r.object, 10)) IS NOT NULL
           WHEN 'PROCEDURE' THEN to_regprocedure(substr(r.object, 11)) IS NOT NULL
           WHEN 'DOMAIN'    THEN to_regtype(substr(r.object, 8)) IS NOT NULL
           WHEN 'TYPE'      THEN to_regtype(substr(r.object, 6)) IS NOT NULL
           ELSE true
         END
  UNION
  SELECT 'TABLE ' || quote_ident(model.name), wanted.what, current_schema()::text || wanted.role
    FROM read_models AS model,
         (VALUES ('OWNER', '_owner'), ('SELECT', '_reader'), ('SELECT', '_projector'), ('INSERT', '_projector'),
           ('UPDATE', '_projector'), ('DELETE', '_projector'), ('TRUNCATE', '_projector')) AS wanted (what, role)
   WHERE EXISTS (SELECT FROM pg_class
                  WHERE relnamespace = current_schema()::regnamespace AND relname = model.name AND relkind = 'r')
$$;

-- What is missing, in words; no row where nothing is. A ledger that dbmate alone has made remembers
-- nothing.
CREATE FUNCTION missing_rights() RETURNS SETOF text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
  WITH missing AS (
    SELECT * FROM rights_wanted() EXCEPT SELECT * FROM rights_in_force()
  ),
  role AS (
    SELECT DISTINCT m.role FROM missing AS m
     WHERE m.role <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = m.role)
  )
  SELECT pg_catalog.format('the role %s, and all that it may do', role) FROM role
  UNION ALL
  SELECT CASE
           WHEN what = 'OWNER'
             THEN pg_catalog.format('%s does not belong to %s',
                                    lower(split_part(object, ' ', 1)) || substr(object, strpos(object, ' ')), role)
           WHEN what = 'MEMBER' THEN pg_catalog.format('%s is not a member of %s', role, substr(object, 6))
           WHEN role = ''       THEN 'the policy ' || substr(what, 8)
           ELSE pg_catalog.format('%s may not %s %s', role, what,
                                  lower(split_part(object, ' ', 1)) || substr(object, strpos(object, ' ')))
         END
    FROM missing WHERE role NOT IN (SELECT role.role FROM role)
   ORDER BY 1
$$;

-- Restores what is missing, and returns what that was. For a user who may make roles and owns what
-- was restored, or a superuser.
CREATE FUNCTION mend_rights() RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  home  CONSTANT text := current_schema();
  found record;
BEGIN
  RETURN QUERY SELECT missing_rights();
  FOR found IN
    SELECT DISTINCT r.role FROM rights AS r
     WHERE r.role <> '' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.role)
  LOOP
    BEGIN
      EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', found.role);
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another ledger of this name, in another database, was mended at this moment
      WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role % is missing, and % may not create roles', found.role, current_user
          USING HINT = pg_catalog.format('Have an administrator run: CREATE ROLE %I NOLOGIN', found.role);
    END;
  END LOOP;
  -- Restoring needs the rights of these two roles.
  FOR found IN SELECT home || '_owner' AS role UNION ALL SELECT home || '_projector' LOOP
    IF NOT pg_catalog.pg_has_role(found.role, 'MEMBER') THEN
      EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER', found.role);
    END IF;
  END LOOP;
  -- Grants before owners, because only an object's owner can grant it; policies last.
  FOR found IN
    SELECT w.object, w.what, w.role FROM (SELECT * FROM rights_wanted() EXCEPT SELECT * FROM rights_in_force()) AS w
     ORDER BY w.role = '', w.what = 'OWNER', w.object
  LOOP
    EXECUTE CASE
      WHEN found.what = 'OWNER'  THEN pg_catalog.format('ALTER %s OWNER TO %I', found.object, found.role)
      WHEN found.what = 'MEMBER' THEN pg_catalog.format('GRANT %s TO %I', substr(found.object, 6), found.role)
      WHEN found.role = ''       THEN 'CREATE ' || found.what
      ELSE pg_catalog.format('GRANT %s ON %s TO %I', found.what, found.object, found.role)
    END;
  END LOOP;
END
$$;

-- =================================================================================================
-- The epochs of the ledger: at which position each began, when and why. With it, a reader of an
-- earlier epoch learns up to which position its history is still the ledger's.
--
-- A server that was promoted, or a cluster that was restored, may lack the last events that others
-- have seen, and gives their positions to other events. Both show in the timeline of the WAL, or in
-- the server's system identifier. So the first append on another of either begins an epoch.
-- =================================================================================================

-- The last row is the present epoch, which `ledger` has too.
CREATE TABLE epochs (
    number integer NOT NULL,
    epoch uuid NOT NULL,
    first_position bigint NOT NULL,
    began_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    reason text NOT NULL,
    of_source boolean DEFAULT false NOT NULL,
    system_identifier text NOT NULL,
    timeline text NOT NULL,
    CONSTRAINT epochs_first_position_countable CHECK (((first_position >= '-4611686018427387903'::bigint) AND (first_position <= '4611686018427387903'::bigint))),
    CONSTRAINT epochs_first_position_positive CHECK ((first_position > 0)),
    CONSTRAINT epochs_number_positive CHECK ((number > 0))
);
ALTER TABLE epochs ADD CONSTRAINT epochs_pkey PRIMARY KEY (number);
CREATE TRIGGER epochs_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON epochs
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE epochs ENABLE ALWAYS TRIGGER epochs_not_prepared;
CREATE TRIGGER epochs_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON epochs
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE epochs ENABLE ALWAYS TRIGGER epochs_only_grow;

-- The timeline that this server writes. It changes with a promotion, also within a session that was
-- open before. pg_control_checkpoint() would show it only after the next checkpoint.
CREATE FUNCTION current_timeline() RETURNS text
LANGUAGE sql VOLATILE SET search_path FROM CURRENT
RETURN left(pg_walfile_name(pg_current_wal_lsn()), 8);

-- Begins an epoch, with the next position unless another is given. The log is locked.
CREATE FUNCTION add_epoch(new_epoch uuid, because text, is_of_source boolean DEFAULT false,
    first bigint DEFAULT NULL::bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  INSERT INTO epochs (number, epoch, first_position, reason, of_source, system_identifier, timeline)
  SELECT (SELECT max(number) FROM epochs) + 1, new_epoch, coalesce(first, head() + 1), because, is_of_source,
         system_identifier::text, current_timeline()
    FROM pg_control_system();
  UPDATE ledger SET epoch = new_epoch, created_at = clock_timestamp();
END
$$;

-- An epoch whose first eight digits no other of this ledger has: readers name it by those.
CREATE FUNCTION unused_epoch() RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  unused uuid;
BEGIN
  LOOP
    unused := gen_random_uuid();
    EXIT WHEN NOT EXISTS (SELECT FROM epochs WHERE left(epoch::text, 8) = left(unused::text, 8));
  END LOOP;
  RETURN unused;
END
$$;

-- Notes that this session has looked at the timeline for this ledger. A session may append to
-- several ledgers. The note is undone with the transaction.
CREATE FUNCTION note_timeline() RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT set_config('jobledger.timeline',
                    coalesce(nullif(current_setting('jobledger.timeline', true), ''), ';') || current_schema() || ';',
                    false);
END;

-- Begins an epoch where the last one began on another server or timeline. The log is locked.
-- lock_log() calls it once a session: a server that accepts writes stays on its timeline until it
-- is restarted. A session that was open on a standby before the promotion has not called it yet.
CREATE FUNCTION follow_timeline() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  here CONSTANT text := current_timeline();
  last epochs;
BEGIN
  SELECT * INTO last FROM epochs ORDER BY number DESC LIMIT 1;
  IF last.system_identifier <> (SELECT system_identifier::text FROM pg_control_system()) THEN
    PERFORM add_epoch(unused_epoch(), 'another server: its system identifier differs');
  ELSIF last.timeline <> here THEN
    PERFORM add_epoch(unused_epoch(), format('timeline %s follows %s', here, last.timeline));
  END IF;
  PERFORM note_timeline();
END
$$;

-- The last position, at most `at_position`, up to which a reader's history is the ledger's. The
-- reader came to `at_position` in the epoch `of_epoch`: its first eight digits, or all of it. Null
-- stands for the present history. Of an epoch that the ledger does not know, nothing is shared.
CREATE FUNCTION shared_position(of_epoch text, at_position bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT CASE WHEN of_epoch IS NULL THEN least(at_position, head())
              ELSE coalesce(
                (SELECT least(at_position, head(),
                              (SELECT min(later.first_position) - 1 FROM epochs AS later
                                WHERE later.number > known.number))
                   FROM epochs AS known
                  WHERE lower(of_epoch) IN (left(known.epoch::text, 8), known.epoch::text)
                  ORDER BY known.number DESC LIMIT 1), 0)
         END;
END;

-- As before, and what the subscription had and is gone is noted: the subscription forgets it here.
CREATE FUNCTION rejoin_subscription(subscription text, by_holder text, OUT at_position bigint,
    OUT of_epoch uuid) RETURNS SETOF record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  PERFORM note_loss('subscription ' || s.name, s.epoch::text, s.position)
     FROM subscriptions AS s
    WHERE s.name = subscription AND s.holder = holder_hash(by_holder) AND is_bound_to(s.bound_to);
  RETURN QUERY
    UPDATE subscriptions AS s
       SET position = shared_position(s.epoch::text, s.position), epoch = ledger.epoch, updated_at = clock_timestamp()
      FROM ledger
     WHERE s.name = subscription AND s.holder = holder_hash(by_holder) AND is_bound_to(s.bound_to)
    RETURNING s.position, s.epoch;
END
$$;

-- Whether the ledger has begun an epoch of its own after this one.
CREATE FUNCTION has_left_epoch(known_epoch uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM epochs AS known JOIN epochs AS later ON later.number > known.number
                  WHERE known.epoch = known_epoch AND NOT later.of_source);
END;

-- =================================================================================================
-- A retry is as durable as the first attempt. Where the server waits for standbys, the commit of
-- an append waits until they have its WAL. A retry whose events are all in the log writes no WAL,
-- so its commit would not wait: it would answer at once for an event that no standby has yet,
-- because the first attempt's wait was cancelled or its session ended.
-- =================================================================================================

-- As before, and at the level that the ledger demands.
CREATE FUNCTION await_standbys() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  IF current_setting('jobledger.confirms', true) = 'on' THEN
    RETURN;
  ELSIF (SELECT durability FROM ledger) = 'quorum' THEN
    PERFORM await_quorum();
  ELSIF current_setting('synchronous_standby_names') <> ''
    AND current_setting('synchronous_commit') NOT IN ('local', 'off')
  THEN
    PERFORM pg_catalog.pg_logical_emit_message(true, 'jobledger', '');
  END IF;
END
$$;

-- =================================================================================================
-- What a ledger demands of each event before it is acknowledged or shown to anybody who acts on it:
--
--   local    it is on this server's disk
--   quorum   the standbys that synchronous_standby_names asks for have it too
--
-- An append reaches quorum when its own commit waits for the standbys. Or it commits at local,
-- which lets the next appender lock the log, and waits afterwards by durable_position(). Then
-- others can see what a failover may still take back. So readers ask durable_position() first.
-- =================================================================================================

-- The level that the ledger demands, for roles that read no table.
CREATE FUNCTION demanded_durability() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT durability FROM ledger;
END;

-- Raises an error where the server has no standbys to wait for.
CREATE FUNCTION require_standbys() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF current_setting('synchronous_standby_names') = '' THEN
    RAISE EXCEPTION 'the level quorum needs standbys, and this server waits for none'
      USING ERRCODE = 'JL022',
            HINT = 'Set synchronous_standby_names, for example by synchronous_mode in Patroni, or run: jobledger '
                   'durability local';
  END IF;
END
$$;

-- Makes the commit of this transaction wait for the standbys that the server asks for. The message
-- is WAL behind that of everything visible now. Nobody reads it.
CREATE FUNCTION await_quorum() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  PERFORM require_standbys();
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  PERFORM pg_catalog.pg_logical_emit_message(true, 'jobledger', '');
END
$$;

-- The last position. When the transaction that asked has committed, and the server did not warn
-- that the wait for the standbys ended early, everything up to there has the level: the one that
-- the ledger demands unless another is given. Ask it in a transaction of its own.
CREATE FUNCTION durable_position(level text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  level := coalesce(level, (SELECT durability FROM ledger));
  IF level = 'quorum' THEN
    IF pg_is_in_recovery() THEN
      RAISE EXCEPTION 'a standby does not know what the other standbys have'
        USING ERRCODE = 'read_only_sql_transaction', HINT = 'Ask the primary.';
    END IF;
    PERFORM await_quorum();
  ELSIF level <> 'local' THEN
    RAISE EXCEPTION 'there is no level of durability %: it is local or quorum', level
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN head();
END
$$;

-- The same as a place: the position and the epoch's first eight digits.
CREATE FUNCTION durable_place(level text DEFAULT NULL::text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  -- One snapshot for both.
  PERFORM durable_position(level);
  RETURN (SELECT head() || '.' || left(epoch::text, 8) FROM ledger);
END
$$;

-- Waits as await_events() does, and returns durable_position() once there are events.
CREATE FUNCTION await_durable_events(after bigint, longest_wait interval,
    every interval DEFAULT '00:00:00.001'::interval) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  head CONSTANT bigint := await_events(after, longest_wait, every);
BEGIN
  RETURN CASE WHEN head > after THEN durable_position() ELSE head END;
END
$$;

-- For an append whose transaction commits at local, although the ledger demands more: whoever calls
-- this takes it on itself to ask durable_position() afterwards, and to acknowledge nothing before.
CREATE FUNCTION confirm_afterwards() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  PERFORM require_standbys();
  PERFORM set_config('synchronous_commit', 'local', true), set_config('jobledger.confirms', 'on', true);
END
$$;

-- The two triggers of a ledger that demands quorum. In other ledgers they are disabled, and cost
-- nothing. They look at the demand all the same: ENABLE TRIGGER ALL, as in what pg_restore
-- --disable-triggers runs, enables them everywhere. They have the owner's rights, because a
-- deferred trigger runs in the commit of a session that may have few.
CREATE FUNCTION raise_durability() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  IF demanded_durability() = 'quorum' THEN
    PERFORM require_standbys();
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  RETURN null;
END
$$;

CREATE FUNCTION refuse_commit_before_quorum() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF current_setting('jobledger.confirms', true) = 'on' OR demanded_durability() <> 'quorum' THEN
    RETURN null;

-- Makes the ledger demand a level of every event from now on. Appends under way are waited for.
-- What is in the log already gets it before the call's transaction has committed.
CREATE FUNCTION demand_durability(level text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  PERFORM lock_log();
  IF level = 'quorum' THEN
    PERFORM await_quorum();
    ALTER TABLE events ENABLE ALWAYS TRIGGER events_raise_durability, ENABLE ALWAYS TRIGGER events_at_quorum;
  ELSE
    ALTER TABLE events DISABLE TRIGGER events_raise_durability, DISABLE TRIGGER events_at_quorum;
    -- It is also the way out where no standby answers.
    PERFORM set_config('synchronous_commit', 'local', true);
  END IF;
  UPDATE ledger SET durability = level;
END
$$;

-- =================================================================================================
-- What is known of losses. After a failover the ledger itself cannot tell which events it had: they
-- are gone with their positions. Those who read them can: the relay, feeds, durable subscriptions
-- and the sealer. What they tell is kept here, because they themselves go on and forget it.
-- =================================================================================================

-- A row is a reader that had come further than what the log shares with its history.
CREATE TABLE losses (
    reader text NOT NULL,
    epoch uuid NOT NULL,
    position bigint NOT NULL,
    shared bigint NOT NULL,
    noted_by text DEFAULT SESSION_USER NOT NULL,
    noted_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT losses_position_countable CHECK (((position >= '-4611686018427387903'::bigint) AND (position <= '4611686018427387903'::bigint))),
    CONSTRAINT losses_reader_length CHECK (((length(reader) >= 1) AND (length(reader) <= 220))),
    CONSTRAINT losses_shared_countable CHECK (((shared >= '-4611686018427387903'::bigint) AND (shared <= '4611686018427387903'::bigint))),
    CONSTRAINT losses_shared_not_negative CHECK ((shared >= 0)),
    CONSTRAINT losses_something CHECK ((shared < position))
);
ALTER TABLE losses ADD CONSTRAINT losses_pkey PRIMARY KEY (reader, epoch, noted_by);
CREATE TRIGGER losses_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON losses
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE losses ENABLE ALWAYS TRIGGER losses_not_prepared;

-- Notes that a reader had come to a position in an epoch (its first eight digits, or all), where
-- the log does not share all of it. Returns the last position that it shares. Of an epoch that the
-- ledger does not know it notes nothing: nobody can say what of it is gone. A user has room for a
-- thousand notes, so that none can fill the disk.
CREATE FUNCTION note_loss(of_reader text, of_epoch text, at_position bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  still CONSTANT bigint := shared_position(of_epoch, at_position);
  known uuid;
BEGIN
  IF still < at_position THEN
    SELECT e.epoch INTO known FROM epochs AS e
     WHERE lower(of_epoch) IN (left(e.epoch::text, 8), e.epoch::text) ORDER BY e.number DESC LIMIT 1;
    IF found AND (SELECT count(*) FROM losses WHERE noted_by = session_user) < 1000 THEN
      INSERT INTO losses AS noted (reader, epoch, position, shared, noted_by)
      VALUES (left(of_reader, 220), known, at_position, still, session_user)
      ON CONFLICT ON CONSTRAINT losses_pkey DO UPDATE
         SET position = greatest(noted.position, excluded.position), shared = least(noted.shared, excluded.shared),
             noted_at = clock_timestamp()
       WHERE excluded.position > noted.position OR excluded.shared < noted.shared;
    END IF;
  END IF;
  RETURN still;
END
$$;

-- Where a key has signed that its tree ends, because the log lost events that the key had sealed,
-- and which key goes on from what is left.
CREATE TABLE seal_forks (
    signer text NOT NULL,
    size bigint NOT NULL,
    epoch uuid NOT NULL,
    shared bigint NOT NULL,
    successor text NOT NULL,
    note text NOT NULL,
    signed_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT seal_forks_shared_countable CHECK (((shared >= '-4611686018427387903'::bigint) AND (shared <= '4611686018427387903'::bigint))),
    CONSTRAINT seal_forks_shared_not_negative CHECK ((shared >= 0)),
    CONSTRAINT seal_forks_size_countable CHECK (((size >= '-4611686018427387903'::bigint) AND (size <= '4611686018427387903'::bigint))),
    CONSTRAINT seal_forks_something CHECK ((shared < size))
);
ALTER TABLE seal_forks ADD CONSTRAINT seal_forks_pkey PRIMARY KEY (signer, signed_at);
CREATE TRIGGER seal_forks_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON seal_forks
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE seal_forks ENABLE ALWAYS TRIGGER seal_forks_not_prepared;
CREATE TRIGGER seal_forks_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON seal_forks
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE seal_forks ENABLE ALWAYS TRIGGER seal_forks_only_grow;

-- Keeps a fork, unless it is there already. Returns false where the ledger has another epoch by
-- now.
CREATE FUNCTION add_seal_fork(
  in_epoch uuid, signed_by text, ended_size bigint, ended_epoch uuid, shared_size bigint, succeeded_by text,
  signed_note text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM ledger WHERE epoch = in_epoch) THEN
    RETURN false;

-- All losses that are known: those that were noted, those that a key has signed, and those of
-- subscriptions that have not dealt with them yet.
CREATE VIEW known_losses AS
  SELECT reader, epoch, position, shared, noted_at FROM losses
  UNION ALL
  SELECT 'sealer', epoch, size, shared, signed_at FROM seal_forks
  UNION ALL
  SELECT 'subscription ' || name, epoch, position, shared_position(epoch::text, position), updated_at
    FROM subscriptions
   WHERE shared_position(epoch::text, position) < position AND epoch IN (SELECT epoch FROM epochs);

-- =================================================================================================
-- A snapshot that was restored keeps its timeline and its system identifier, so the first append
-- on it begins no epoch. The events themselves tell: the log has others in the places of those that
-- a relay has published, or none.
-- =================================================================================================

-- As before, for an epoch that is the current one or unknown. After an epoch that the log knows
-- another one has begun already, as it should.
--
-- It does not wait for the standbys while it has the log: where none answers, nobody could append.
-- An epoch that is lost with its server is noticed anew.
CREATE FUNCTION notice_restore(of_epoch text, positions bigint[], ids uuid[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  is_known CONSTANT boolean := EXISTS (SELECT FROM epochs WHERE lower(of_epoch) IN (left(epoch::text, 8), epoch::text));
  fork bigint;
  kept bigint;
BEGIN
  IF cardinality(positions) IS DISTINCT FROM cardinality(ids) OR cardinality(positions) > 100000 THEN
    RAISE EXCEPTION 'each position has one id, and at most 100,000 are compared'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM set_config('synchronous_commit', 'local', true);
  -- It begins an epoch itself where the server is another one.
  PERFORM lock_log();
  IF NOT is_known OR lower(of_epoch) IN (SELECT unnest(ARRAY[left(epoch::text, 8), epoch::text]) FROM ledger) THEN
    SELECT min(published.position) INTO fork
      FROM unnest(positions, ids) AS published (position, id)
           LEFT JOIN events USING (position)
     WHERE events.event_id IS DISTINCT FROM published.id;
    SELECT coalesce(max(position), 0) INTO kept FROM unnest(positions) AS position WHERE position < fork;
    -- Of an unknown epoch it may be old knowledge: if an epoch has begun there or later, the log
    -- has gone on since.
    IF fork IS NOT NULL AND (is_known OR kept + 1 > (SELECT max(first_position) FROM epochs)) THEN
      PERFORM add_epoch(unused_epoch(), format('restored: the event at position %s is another one, or gone', fork),
                        first => kept + 1);
    END IF;
  END IF;
  RETURN shared_position(of_epoch, (SELECT max(position) FROM unnest(positions) AS position));
END
$$;

-- =================================================================================================
-- An append for SQL callers that lets the others append while it waits for the standbys.
-- append_event() cannot do that: it is part of the caller's transaction, whose commit waits, and
-- holds the log until then. A procedure can commit, and wait afterwards.
-- =================================================================================================

-- Appends one event as append_event() does, commits it, and returns once it has the level that the
-- ledger demands. It is a transaction of its own: within another one it fails (2D000).
--
-- In a ledger that demands quorum it commits on this server's disk, which gives the next appender
-- the log. Then it waits for the standbys in a second transaction, whose WAL is behind the event's.
-- One session does both, so the standbys are those of the server that has written. In other ledgers
-- it commits as the session's settings say, and does not give the log away before: readers there do
-- not ask for standbys, and would pass on what a failover may take back.
--
-- A refusal is one of append_event(), and nothing is written. After any other error, and after the
-- warning that the wait for standbys was cancelled, the event may be written, and a failover may
-- lose it. The same call with the same event_id settles that: it waits again.
--
-- A session reads changed settings between statements only. So the procedure cannot see that
-- somebody has emptied synchronous_standby_names, which ends its wait. require_standbys(), as the
-- next statement, can.
CREATE PROCEDURE append_and_confirm(IN job_id text, IN type text, IN data json DEFAULT '{}'::json,
    IN metadata json DEFAULT '{}'::json, IN expected_version integer DEFAULT NULL::integer,
    INOUT event_id uuid DEFAULT NULL::uuid, IN occurred_at timestamptz DEFAULT NULL::timestamptz,
    INOUT position bigint DEFAULT NULL::bigint, INOUT version integer DEFAULT NULL::integer,
    INOUT duplicate boolean DEFAULT NULL::boolean, IN category text DEFAULT 'job'::text)
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF demanded_durability() = 'quorum' THEN
    PERFORM confirm_afterwards();
  END IF;
  SELECT appended.position, appended.version, appended.event_id, appended.duplicate
    INTO position, version, event_id, duplicate
    FROM append_event(job_id, type, data, metadata, expected_version, event_id, occurred_at, category)
      AS appended;
  COMMIT;
  PERFORM durable_position();
  COMMIT;
END
$$;

-- =================================================================================================
-- Categories: the kinds of streams that a ledger takes, and the rules of each, as data. A job is of
-- one category; others are installed from a folder (docs/categories.md). What is declared holds for
-- every way into the log, because appends look it up here.
-- =================================================================================================

-- The length is no part of the pattern: one that counts takes ten times as long.
CREATE FUNCTION is_category_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN name COLLATE "C" ~ '^[a-z][a-z0-9_]*$' AND length(name) <= 50;

-- The form of an event's type, whatever its category.
CREATE FUNCTION is_type_name(type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN type COLLATE "C" ~ '^[a-z][a-z0-9_]*$' AND length(type) <= 63;

CREATE DOMAIN category_name AS text COLLATE "C"
    CONSTRAINT category_name_form CHECK (is_category_name(VALUE));

-- What a category is now.
CREATE TABLE categories (
    name category_name NOT NULL,
    definition json NOT NULL,
    hash text NOT NULL,
    installed_at timestamptz DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE categories ADD CONSTRAINT categories_pkey PRIMARY KEY (name);
CREATE TRIGGER categories_by_rule BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON categories
    FOR EACH STATEMENT
    WHEN ((COALESCE(current_setting('jobledger.appending', true), 'off') <> ALL (ARRAY['on', 'noted'])))
    EXECUTE FUNCTION refuse_change_of_rules();
ALTER TABLE categories ENABLE ALWAYS TRIGGER categories_by_rule;
CREATE TRIGGER categories_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON categories
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE categories ENABLE ALWAYS TRIGGER categories_not_prepared;

-- All that an append asks about a type, in one row. The arrays repeat what the tables below say.
CREATE TABLE category_types (
    category category_name NOT NULL,
    type event_type NOT NULL,
    follows text[] NOT NULL COLLATE "C",
    ends boolean NOT NULL,
    removes boolean NOT NULL,
    unique_keys text[] DEFAULT '{}'[] NOT NULL,
    ignoring_case boolean[] DEFAULT '{}'::boolean[] NOT NULL,
    named_keys text[] DEFAULT '{}'[] NOT NULL,
    targets text[] DEFAULT '{}'[] NOT NULL,
    personal_keys text[] DEFAULT '{}'[] NOT NULL,
    CONSTRAINT category_types_removal_ends CHECK ((ends OR (NOT removes)))
);
ALTER TABLE category_types ADD CONSTRAINT category_types_category_fkey FOREIGN KEY (category) REFERENCES categories(name) ON DELETE CASCADE;
ALTER TABLE category_types ADD CONSTRAINT category_types_pkey PRIMARY KEY (category, type);
CREATE TRIGGER category_types_by_rule BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON category_types
    FOR EACH STATEMENT
    WHEN ((COALESCE(current_setting('jobledger.appending', true), 'off') <> ALL (ARRAY['on', 'noted'])))
    EXECUTE FUNCTION refuse_change_of_rules();
ALTER TABLE category_types ENABLE ALWAYS TRIGGER category_types_by_rule;
CREATE TRIGGER category_types_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON category_types
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE category_types ENABLE ALWAYS TRIGGER category_types_not_prepared;

-- Which type may follow which. `last_type` is empty while the stream has no events.
CREATE TABLE category_life (
    category category_name NOT NULL,
    last_type text NOT NULL COLLATE "C",
    type event_type NOT NULL
);
ALTER TABLE category_life ADD CONSTRAINT category_life_pkey PRIMARY KEY (category, last_type, type);
ALTER TABLE category_life ADD CONSTRAINT category_life_type_fkey FOREIGN KEY (category, type) REFERENCES category_types(category, type) ON DELETE CASCADE;
CREATE TRIGGER category_life_by_rule BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON category_life
    FOR EACH STATEMENT
    WHEN ((COALESCE(current_setting('jobledger.appending', true), 'off') <> ALL (ARRAY['on', 'noted'])))
    EXECUTE FUNCTION refuse_change_of_rules();
ALTER TABLE category_life ENABLE ALWAYS TRIGGER category_life_by_rule;
CREATE TRIGGER category_life_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON category_life
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE category_life ENABLE ALWAYS TRIGGER category_life_not_prepared;

-- Members of the data whose value only one stream of the category can have at a time.
CREATE TABLE category_unique (
    category category_name NOT NULL,
    key text NOT NULL COLLATE "C",
    ignoring_case boolean NOT NULL
);
ALTER TABLE category_unique ADD CONSTRAINT category_unique_category_fkey FOREIGN KEY (category) REFERENCES categories(name) ON DELETE CASCADE;
ALTER TABLE category_unique ADD CONSTRAINT category_unique_pkey PRIMARY KEY (category, key);
CREATE TRIGGER category_unique_by_rule BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON category_unique
    FOR EACH STATEMENT
    WHEN ((COALESCE(current_setting('jobledger.appending', true), 'off') <> ALL (ARRAY['on', 'noted'])))
    EXECUTE FUNCTION refuse_change_of_rules();
ALTER TABLE category_unique ENABLE ALWAYS TRIGGER category_unique_by_rule;
CREATE TRIGGER category_unique_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON category_unique
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE category_unique ENABLE ALWAYS TRIGGER category_unique_not_prepared;

-- Members of the data that name a stream, which must exist.
CREATE TABLE category_references (
    category category_name NOT NULL,
    key text NOT NULL COLLATE "C",
    target category_name NOT NULL
);
ALTER TABLE category_references ADD CONSTRAINT category_references_category_fkey FOREIGN KEY (category) REFERENCES categories(name) ON DELETE CASCADE;
ALTER TABLE category_references ADD CONSTRAINT category_references_pkey PRIMARY KEY (category, key);
ALTER TABLE category_references ADD CONSTRAINT category_references_target_fkey FOREIGN KEY (target) REFERENCES categories(name);
CREATE TRIGGER category_references_by_rule BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON category_references
    FOR EACH STATEMENT
    WHEN ((COALESCE(current_setting('jobledger.appending', true), 'off') <> ALL (ARRAY['on', 'noted'])))
    EXECUTE FUNCTION refuse_change_of_rules();
ALTER TABLE category_references ENABLE ALWAYS TRIGGER category_references_by_rule;
CREATE TRIGGER category_references_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON category_references
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE category_references ENABLE ALWAYS TRIGGER category_references_not_prepared;

-- Every definition that has been in force, and from which position on.
CREATE TABLE category_definitions (
    number bigint NOT NULL,
    category category_name NOT NULL,
    definition json NOT NULL,
    hash text NOT NULL,
    after bigint NOT NULL,
    installed_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    role text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT category_definitions_after_countable CHECK (((after >= 0) AND (after <= '4611686018427387903'::bigint))),
    CONSTRAINT category_definitions_number_countable CHECK (((number >= 0) AND (number <= '4611686018427387903'::bigint)))
);
ALTER TABLE category_definitions ADD CONSTRAINT category_definitions_pkey PRIMARY KEY (number);
CREATE TRIGGER category_definitions_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON category_definitions
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE category_definitions ENABLE ALWAYS TRIGGER category_definitions_not_prepared;
CREATE TRIGGER category_definitions_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON category_definitions
    FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE category_definitions ENABLE ALWAYS TRIGGER category_definitions_only_grow;

-- Which stream holds which value that must be unique. It follows from the log, and changes with it
-- under the same lock: see claim_spans().
CREATE TABLE claims (
    category category_name NOT NULL,
    key text NOT NULL COLLATE "C",
    value text NOT NULL COLLATE "C",
    stream_id stream_name NOT NULL,
    CONSTRAINT claims_value_fits CHECK ((octet_length(value) <= 1020))
);
ALTER TABLE claims ADD CONSTRAINT claims_pkey PRIMARY KEY (category, key, value);
ALTER TABLE claims ADD CONSTRAINT claims_stream_key UNIQUE (stream_id, category, key);
CREATE TRIGGER claims_by_rule BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON claims
    FOR EACH STATEMENT
    WHEN ((COALESCE(current_setting('jobledger.appending', true), 'off') <> ALL (ARRAY['on', 'noted'])))
    EXECUTE FUNCTION refuse_change_of_rules();
ALTER TABLE claims ENABLE ALWAYS TRIGGER claims_by_rule;
CREATE TRIGGER claims_not_prepared BEFORE INSERT OR DELETE OR UPDATE ON claims
    FOR EACH STATEMENT
    WHEN ((current_setting('max_prepared_transactions') <> '0'))
    EXECUTE FUNCTION refuse_to_prepare_changes();
ALTER TABLE claims ENABLE ALWAYS TRIGGER claims_not_prepared;

CREATE FUNCTION refuse_change_of_rules() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  RAISE EXCEPTION '% of % refused: claims change with the log, and rules by install_category()', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END
$$;

-- A value that must be unique, as it is compared: ASCII letters without their case where the
-- category says so. Null where the member is missing or null.
CREATE FUNCTION claimed_value(data jsonb, key text, ignoring_case boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ignoring_case THEN lower((data ->> key) COLLATE "C") ELSE data ->> key END;

-- In bytes, as the constraint claims_value_fits has it.
CREATE FUNCTION longest_claim() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1020;

-- A day of the calendar of the years 1 to 9999, as YYYY-MM-DD. Null where the text is.
CREATE FUNCTION is_date(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(value, 4) COLLATE "C" <> '0000'
   AND value COLLATE "C" ~ ('^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)'
                            '|02-(0[1-9]|1[0-9]|2[0-8]))'
                            -- Leap days: of years divisible by 4, and by 400 if by 100.
                            '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)$');

-- The seconds since 1970 of a date and time that has the form of RFC 3339, without its fraction.
CREATE FUNCTION seconds_since_1970(value text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (make_date(left(value, 4)::integer, substr(value, 6, 2)::integer, substr(value, 9, 2)::integer)
          - make_date(1970, 1, 1))::bigint * 86400
     + substr(value, 12, 2)::integer * 3600 + substr(value, 15, 2)::integer * 60 + substr(value, 18, 2)::integer
     - CASE WHEN right(value, 1) IN ('Z', 'z') THEN 0
            ELSE left(right(value, 6), 3)::integer * 3600
               + (left(right(value, 6), 1) || right(value, 2))::integer * 60 END;

-- A date and time with a zone, as RFC 3339 has it. A second 60 is the last of a day in UTC. Null
-- where the text is.
CREATE FUNCTION is_date_time(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN value COLLATE "C" !~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]+)?'
                             '([Zz]|[-+]([01][0-9]|2[0-3]):[0-5][0-9])$') THEN false
  WHEN NOT is_date(left(value, 10)) THEN false
  WHEN substr(value, 18, 2) = '60' THEN seconds_since_1970(value) % 86400 = 0
  ELSE value IS NOT NULL OR null
END;

CREATE FUNCTION is_uuid(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value COLLATE "C" ~ '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$';

-- One @ with something on both sides, and neither spaces nor control characters, of any script.
CREATE FUNCTION is_email(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN length(value) <= 320
   AND value COLLATE "C" ~ ('^[^@\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+'
                            '@[^@\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$');

-- A scheme, a colon and something behind it, with neither spaces nor control characters.
CREATE FUNCTION is_uri(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value COLLATE "C" ~ ('^[A-Za-z][A-Za-z0-9+.-]*:'
                            '[^\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$');

-- Whether one date is before the other, or one date and time. Null or false where the two are not
-- both of one kind.
CREATE FUNCTION is_before(value text, other text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN is_date(value) AND is_date(other) THEN value COLLATE "C" < other COLLATE "C"
  WHEN is_date_time(value) AND is_date_time(other)
    -- Digits of a fraction compare as text, however many there are.
    THEN (seconds_since_1970(value), coalesce(rtrim(substring(value FROM '[.]([0-9]+)'), '0'), '') COLLATE "C")
       < (seconds_since_1970(other), coalesce(rtrim(substring(other FROM '[.]([0-9]+)'), '0'), '') COLLATE "C")
END;

-- The first key of an object that is none of `known`, as JSON writes it. Null where there is none.
CREATE FUNCTION first_other_key(value jsonb, known text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT to_json(CASE WHEN length(key) > 60 THEN left(key, 60) || '…' ELSE key END)::text
          FROM jsonb_object_keys(CASE jsonb_typeof(value) WHEN 'object' THEN value - known END) AS others (key)
         ORDER BY key COLLATE "C" LIMIT 1);

-- Whether an object has one of its keys twice. `value` is the same object, of which jsonb keeps the
-- last value of each key. Readers differ in which one they take.
CREATE FUNCTION repeats_a_key(source json, value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT count(*) FROM json_object_keys(source)) > (SELECT count(*) FROM jsonb_object_keys(value));

-- The first key that an object has twice, as JSON writes it. Null where there is none.
CREATE FUNCTION first_repeated_key(source json) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT to_json(CASE WHEN length(key) > 60 THEN left(key, 60) || '…' ELSE key END)::text
          FROM json_object_keys(source) AS all_keys (key)
         GROUP BY key HAVING count(*) > 1
         ORDER BY key COLLATE "C" LIMIT 1);

-- The rules of a category are compiled to a function check_of_CATEGORY() when it is installed.
-- This function asks the right one. It is made anew with each installation, because a call whose
-- name is only known at run time would be planned again for each event.
CREATE FUNCTION check_data_in(category text, type text, data jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
  RETURN null;
END
$$;

CREATE FUNCTION make_check_of_data() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $_$
DECLARE
  branches text := (
    SELECT string_agg(format('WHEN %L THEN RETURN coalesce(%I(type, data)%s);', c.name, 'check_of_' || c.name, texts),
                      E'\n    ' ORDER BY c.name)
      FROM categories AS c,
           -- What must be unique, and what names a stream, is compared as a text.
           LATERAL (
             SELECT string_agg(format(
                      ', CASE WHEN jsonb_typeof(data -> %1$L) NOT IN (''string'', ''null'')
                        THEN %2$L%4$s WHEN octet_length(data ->> %1$L) > longest_claim()
                        THEN %3$L || longest_claim() || '' bytes'' END',
                      k.key, to_json(k.key) || ' must be a text or null' || CASE WHEN NOT k.is_personal THEN ', not '
                                                                                 ELSE '' END,
                      to_json(k.key) || ' is compared with other streams, and has at most ',
                      CASE WHEN NOT k.is_personal THEN format(' || excerpt(data -> %L)', k.key) END), ''
                      ORDER BY k.key) AS texts
               FROM (SELECT u.key, u.key IN (SELECT json_array_elements_text(c.definition -> 'personal')) AS is_personal
                       FROM (SELECT u.key FROM category_unique AS u WHERE u.category = c.name
                             UNION SELECT r.key FROM category_references AS r WHERE r.category = c.name) AS u) AS k)
             AS compared
     WHERE c.name <> 'job');
BEGIN
  EXECUTE format(
    'CREATE OR REPLACE FUNCTION check_data_in(category text, type text, data jsonb) RETURNS text
     LANGUAGE plpgsql IMMUTABLE AS %L',
    format($body$
BEGIN
  CASE category
    %s
    ELSE RETURN null;
  END CASE;
END
$body$, coalesce(branches, 'WHEN '''' THEN RETURN null;')));
END
$_$;

-- Which stream of a category has held which value, from one position until another: until the
-- stream gave the member another value or null, or was removed. `until` is null where it holds it
-- still.
CREATE FUNCTION claim_spans(of_category text)
RETURNS TABLE (key text, value text, stream_id text, since bigint, until bigint)
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT span.key, span.value, span.stream_id, span.since, span.until
    FROM (
      SELECT u.key, e.stream_id::text AS stream_id, e.position::bigint AS since,
             CASE WHEN NOT t.removes THEN claimed_value(e.data::jsonb, u.key, u.ignoring_case) END AS value,
             lead(e.position::bigint) OVER (PARTITION BY e.stream_id, u.key ORDER BY e.version) AS until
        FROM events AS e
        JOIN category_unique AS u ON u.category = e.category
        JOIN category_types AS t ON t.category = e.category AND t.type = e.type
       WHERE e.category = of_category AND (t.removes OR e.data::jsonb ? u.key)) AS span
   WHERE span.value IS NOT NULL;
END;

-- Where the claims that are kept differ from what the log says, for `audit verify`. The position is
-- that of the event that made the claim; of a claim that no event has made, it is null.
CREATE FUNCTION claim_differences()
RETURNS TABLE (category text, key text, value text, kept_for text, held_by text, at_position bigint)
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT coalesce(k.category, l.category), coalesce(k.key, l.key), coalesce(k.value, l.value), k.stream_id, l.stream_id,
         l.since
    FROM claims AS k
    FULL JOIN (
      SELECT c.name AS category, found.key, found.value, found.stream_id, found.since
        FROM categories AS c, claim_spans(c.name) AS found WHERE found.until IS NULL) AS l
      ON l.category = k.category AND l.key = k.key AND l.value = k.value
   WHERE k.stream_id IS DISTINCT FROM l.stream_id
   ORDER BY l.since, 1, 2, 3;
END;

-- The first event of a category that breaks the rules that are installed, in the order of the log;
-- no row where none does.
CREATE FUNCTION first_breach(of_category text, OUT at_position bigint,
    OUT problem text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  SELECT found.position, found.problem INTO at_position, problem
    FROM (
      SELECT e.position, CASE
               WHEN l.type IS NULL AND e.previous IS NULL THEN format('%s may not be the first', e.type)
               WHEN l.type IS NULL                        THEN format('%s may not follow %s', e.type, e.previous)
               ELSE check_data_in(of_category, e.type, e.data::jsonb)
             END AS problem
        FROM (
          SELECT h.position, h.type, h.data,
                 lag(h.type::text) OVER (PARTITION BY h.stream_id ORDER BY h.version) AS previous
            FROM events AS h WHERE h.category = of_category) AS e
        LEFT JOIN category_life AS l
          ON l.category = of_category AND l.last_type = coalesce(e.previous, '') AND l.type = e.type
      UNION ALL
      -- A reference is right where the stream began before the event, and was not removed before
      -- it. A removal is the last event of a stream, and what it refers to does not matter.
      SELECT e.position, format('there is no %s %s, which "%s" names', e.target, to_json(e.named), e.key)
        FROM (
          SELECT h.position, r.key, r.target, h.data::jsonb ->> r.key AS named
            FROM events AS h
            JOIN category_types AS t ON t.category = h.category AND t.type = h.type AND NOT t.removes
            JOIN category_references AS r ON r.category = h.category
           WHERE h.category = of_category
          OFFSET 0) AS e
        LEFT JOIN events AS first ON first.category = e.target AND first.stream_id = e.named AND first.version = 1
        LEFT JOIN LATERAL (
          SELECT h.position, t.removes
            FROM events AS h JOIN category_types AS t ON t.category = h.category AND t.type = h.type
           WHERE h.category = e.target AND h.stream_id = e.named
           ORDER BY h.version DESC LIMIT 1) AS last ON true
       WHERE e.named IS NOT NULL
         AND (coalesce(first.position, e.position) >= e.position
                OR (last.removes AND last.position < e.position) IS TRUE)
      UNION ALL
      SELECT s.since, format('"%s" %s was held by another %s', s.key, to_json(s.value), of_category)
        FROM (
          SELECT c.*, lag(coalesce(c.until, s_end))
                        OVER (PARTITION BY c.key, c.value COLLATE "C" ORDER BY c.since) AS before
            FROM claim_spans(of_category) AS c, (VALUES (head() + 1)) AS now (s_end)) AS s
       WHERE s.before > s.since) AS found
   WHERE found.problem IS NOT NULL
   ORDER BY found.position
   LIMIT 1;
END
$$;

-- Locks the log for one who has locked category_types. Who holds the log may want category_types,
-- and would be ended if both waited. So this tries for half a second, and waits only where the log
-- is never free, for less than a deadlock_timeout.
CREATE FUNCTION lock_log_beside_rules() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    SET lock_timeout TO '400ms'
    AS $$
BEGIN
  FOR attempt IN 1..50 LOOP
    BEGIN
      LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE NOWAIT;
      EXIT;
    EXCEPTION WHEN lock_not_available THEN
      PERFORM pg_sleep(0.01);
    END;
  END LOOP;
  LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE;
  PERFORM lock_log();
END
$$;

-- Installs a category, or changes it. `definition` is its category.json, whose form the caller has
-- checked; `check_body` is the PL/pgSQL body of check_of_CATEGORY(type text, data jsonb),
-- which returns null or why the data are refused. Returns whether anything changed.
--
-- Refused with JL011, and nothing is changed, where events in the log would break the new rules. So
-- a definition with events can only become wider. Appends of other categories than job wait
-- meanwhile. Fails with 55P03 where it would have to wait for them for more than a second, since
-- others wait behind it: try again.
CREATE FUNCTION install_category(definition json, hash text, check_body text) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT SET jobledger.appending = 'on' SET lock_timeout = '1s'
SET check_function_bodies = on SET standard_conforming_strings = on AS $do$
#variable_conflict use_variable
DECLARE
  category CONSTANT text := definition ->> 'name';

-- =================================================================================================
-- The rules that an event of any category is checked by: what it must look like by itself, and what
-- the log must hold. They read the tables that install_category() fills.
-- =================================================================================================

-- That the ledger has no such category, in words; null where it has it. Every ledger has jobs.
CREATE FUNCTION missing_category(category text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
BEGIN
  IF category = 'job' OR EXISTS (SELECT FROM categories AS c WHERE c.name = category) THEN
    RETURN null;

-- That a category has no such type, in words; null where it has it.
CREATE FUNCTION missing_type(category text, type text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
BEGIN
  IF category = 'job' THEN
    RETURN CASE WHEN is_event_type(type) IS NOT TRUE
      THEN format('%s is not an event type; use queued, progress, truncated, finished or failed',
                  coalesce(quote_literal(left(type, 100)), 'null')) END;

-- The same for those who read events of a category, perhaps of some types of it: a misspelled name
-- would otherwise look like a stream without events. With the owner's rights, because a role that
-- reads events need not read the rules.
CREATE FUNCTION missing_kind(category text, types text[] DEFAULT NULL::text[]) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  RETURN coalesce(
    missing_category(category),
    (SELECT missing_type(category, given.type) FROM unnest(types) WITH ORDINALITY AS given (type, place)
      WHERE missing_type(category, given.type) IS NOT NULL ORDER BY given.place LIMIT 1));
END
$$;

-- The code of the refusal of an event whose type may not follow the last one of its stream, which
-- is not a job. `last_type` is null while the stream has no events.
CREATE FUNCTION life_refusal(category text, type text, last_type text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
BEGIN
  IF last_type IS NULL THEN
    RETURN 'unknown_job';

-- What life_refusal() says, in words.
CREATE FUNCTION explain_life_refusal(refusal text, category text, stream text, type text,
    last_type text) RETURNS text
    LANGUAGE plpgsql STABLE
    AS $_$
#variable_conflict use_variable
DECLARE
  allowed CONSTANT text := (
    SELECT string_agg(l.type, ' or ' ORDER BY l.type) FROM category_life AS l
     WHERE l.category = category AND l.last_type = coalesce(last_type, ''));
BEGIN
  RETURN CASE refusal
    WHEN 'unknown_job'
      THEN format('%s %s has no events; the first must be %s', category, to_json(stream), allowed)
    WHEN 'already_queued'
      THEN format('%s %s exists already: another %1$s needs another id', category, to_json(stream))
    WHEN 'already_ended'
      THEN format('%s %s has ended with %s; nothing follows an end', category, to_json(stream), last_type)
    ELSE format('%s %s is at %s, and %s may not follow it: %s may', category, to_json(stream), last_type, type, allowed)
  END;
END
$_$;

-- The streams that an event names and that are not there: as a message, null where all are. The log
-- is locked.
CREATE FUNCTION missing_reference(rule category_types, data jsonb) RETURNS text
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
  named   text;
  shown   text;
  removes boolean;
BEGIN
  FOR number IN 1 .. cardinality(rule.named_keys) LOOP
    named := data ->> rule.named_keys[number];
    CONTINUE WHEN named IS NULL;
    -- Refusals are recorded, so none quotes a personal value.
    shown := CASE WHEN rule.named_keys[number] = ANY (rule.personal_keys)
      THEN format('that "%s" names', rule.named_keys[number])
      ELSE format('%s, which "%s" names', to_json(left(named, 300)), rule.named_keys[number]) END;
    removes := null;
    SELECT EXISTS (SELECT FROM category_types AS t WHERE t.category = e.category AND t.type = e.type AND t.removes)
      INTO removes
      FROM events AS e
     WHERE e.stream_id = named AND e.category = rule.targets[number] ORDER BY e.version DESC LIMIT 1;
    IF removes IS NULL THEN
      RETURN format('there is no %s %s: append it first', rule.targets[number], shown);
    ELSIF removes THEN
      RETURN format('the %s %s%s has been removed', rule.targets[number], shown,
                    CASE WHEN rule.named_keys[number] <> ALL (rule.personal_keys) THEN ',' END);
    END IF;
  END LOOP;
  RETURN null;
END
$$;

-- Takes the values that an event claims for its stream, and releases those that it replaces.
-- Returns null, or why it may not, and then nothing is changed. The log is locked, so nobody else
-- claims anything meanwhile. The holder is not named: whoever may append need not be allowed to
-- read. holder_of() tells readers.
CREATE FUNCTION claim_values(rule category_types, stream text, data jsonb, is_new boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  claim  text;

-- The stream that holds a value which must be unique, null where none does.
CREATE FUNCTION holder_of(of_category text, of_key text, of_value text) RETURNS text
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT c.stream_id
    FROM category_unique AS u
    JOIN claims AS c ON c.category = u.category AND c.key = u.key
                    AND c.value = claimed_value(jsonb_build_object(u.key, of_value), u.key, u.ignoring_case)
   WHERE u.category = of_category AND u.key = of_key;
END;

-- Who holds what an event of a stream would claim, and may not: the first key, in the order in
-- which claim_values() looks at them, and the stream that has its value. No row where nobody does.
-- For readers, who are told so where an append of theirs is refused as not unique.
CREATE FUNCTION other_holder(of_category text, of_stream text, of_type text, of_data json)
RETURNS TABLE (key text, stream_id text)
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT u.key, c.stream_id
    FROM category_types AS t,
         unnest(t.unique_keys, t.ignoring_case) WITH ORDINALITY AS u (key, ignoring_case, place),
         claims AS c
   WHERE t.category = of_category AND t.type = of_type AND c.category = of_category AND c.key = u.key
     AND c.value = claimed_value(of_data::jsonb, u.key, u.ignoring_case) AND c.stream_id <> of_stream
   ORDER BY u.place
   LIMIT 1;
END;

-- =================================================================================================
-- Appends to streams of any category. Jobs keep their own paths, which are written by hand for
-- speed. A call with other categories comes here: one event by itself, plain batches in sets, and
-- all others event by event. Any job may come along in such a call; a test sends the same requests
-- both ways.
-- =================================================================================================

-- Appends one event of any category to the log, which is locked, or answers why not. `rule` is its
-- row of category_types; a job needs none. `code` and `message` are what check_event() found.
-- `compared` adds up the bytes that a call parses to tell a retry from another event under its id.
-- `head_before` is the head before the call. `recorded_at` is null for now.
CREATE FUNCTION append_next(rule category_types, category text, stream text, type text, data text,
    metadata text, expected_version integer, id uuid, occurred_at timestamptz,
    recorded_at timestamptz, code text, message text, total integer, completed integer,
    head_before bigint, INOUT compared bigint, OUT answer append_answer) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
DECLARE
  most_compared CONSTANT bigint := 64 * 1024 * 1024;
  last    CONSTANT record := last_event();
  earlier record;
  head    record;
  value   jsonb;
  parts   text;
  refusal text := code;
  reason  text := message;
BEGIN
  -- A retry comes first: it is never refused for what has happened since.
  SELECT e.position, e.version, e.category, e.stream_id, e.type, e.data::text AS data, e.metadata::text AS metadata,
         e.occurred_at
    INTO earlier FROM events AS e WHERE e.event_id = id;
  IF FOUND THEN
    PERFORM await_standbys();
    compared := compared + bytes_to_compare(earlier.data, coalesce(data, ''))
                         + bytes_to_compare(earlier.metadata, metadata);
    IF compared > most_compared THEN
      RAISE EXCEPTION 'this call repeats event ids with other content, and to compare it takes more than % MiB',
                      most_compared >> 20
        USING ERRCODE = 'program_limit_exceeded',
              HINT = 'Nothing was written. Send fewer of these events in a call: each has an id of its own, or is '
                     'a retry and the same again.';
    END IF;
    parts := concat_ws(', ', CASE WHEN earlier.category <> category THEN 'category' END,
                       CASE WHEN num_nulls(stream, type, data) > 0 THEN 'content' END,
                       -- In one category the stream has its name: another job, another user.
                       CASE WHEN earlier.stream_id <> stream
                         THEN CASE earlier.category WHEN category THEN category ELSE 'stream' END END,
                       nullif(differing_parts(stream, stream, earlier.type, type, earlier.data, data,
                                              earlier.metadata, metadata, earlier.occurred_at, occurred_at), ''));
    answer := CASE
      WHEN parts = '' THEN (null, earlier.position, earlier.version, id, true, null, null)::append_answer
      ELSE (null, null, null, id, false, 'event_id_conflict',
            CASE WHEN earlier.position > head_before
              THEN format('event id %s stands in this call already, with other %s: each event has an id of its own',
                          id, parts)
              ELSE format('event id %s is at position %s already, with other %s: a retry sends the same event again, '
                          'and a new event has an id of its own', id, earlier.position, parts)
            END)::append_answer
    END;
    RETURN;
  END IF;

  IF refusal IS NULL THEN
    value := data::jsonb;
    SELECT e.position, e.version, e.total, e.type INTO head
      FROM events AS e WHERE e.stream_id = stream AND e.category = category ORDER BY e.version DESC LIMIT 1;
    total := coalesce(total, head.total);
    IF category = 'job' THEN
      IF NOT may_append(type, expected_version, completed, total, head.version, head.type) THEN
        SELECT * INTO refusal, reason
          FROM explain_refusal(stream, type, expected_version, completed, total, head.version, head.type);
      END IF;
    ELSE
      -- A claim that this call has made, and replaces, stays in the way until it commits. So each
      -- one makes the next slower, while the log is locked.
      IF head.position > head_before AND (rule.removes OR value ?| rule.unique_keys) THEN
        compared := compared + most_compared / 1000;
        IF compared > most_compared THEN
          RAISE EXCEPTION 'this call changes values that must be unique more than 1000 times'
            USING ERRCODE = 'program_limit_exceeded',
                  HINT = 'Nothing was written. Send fewer events of one stream in a call.';
        END IF;
      END IF;
      IF coalesce(head.type, '') <> ALL (rule.follows) THEN
        refusal := life_refusal(category, type, head.type);
        reason := explain_life_refusal(refusal, category, stream, type, head.type);
      ELSIF expected_version <> coalesce(head.version, 0) THEN
        refusal := 'version_conflict';
        reason := format('%s %s is at version %s, not at %s: somebody else has appended meanwhile; read its events, '
                         'and decide anew', category, to_json(stream), coalesce(head.version, 0), expected_version);
      ELSIF rule.removes THEN
        DELETE FROM claims AS c WHERE c.stream_id = stream AND c.category = category;
      ELSE
        IF rule.named_keys <> '{}' THEN
          reason := missing_reference(rule, value);
          refusal := CASE WHEN reason IS NOT NULL THEN 'unknown_reference' END;
        END IF;
        IF refusal IS NULL AND value ?| rule.unique_keys THEN
          reason := claim_values(rule, stream, value, head.version IS NULL);
          refusal := CASE WHEN reason IS NOT NULL THEN 'not_unique' END;
        END IF;
      END IF;
    END IF;
  END IF;
  IF refusal IS NOT NULL THEN
    answer := (null, null, null, id, false, refusal, reason)::append_answer;
    RETURN;
  END IF;

  INSERT INTO events (
    position, event_id, category, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  VALUES (last.head + 1, id, category, stream, coalesce(head.version, 0) + 1, type, data::json, metadata::json,
          occurred_at, coalesce(recorded_at, greatest(clock_timestamp(), last.recorded_at)), coalesce(total, 0),
          completed);
  answer := (null, last.head + 1, coalesce(head.version, 0) + 1, id, false, null, null)::append_answer;
END
$$;

-- The events of one call that append_next() decides on, with what check_event() has found.
CREATE TYPE event_to_append AS (
    ordinal integer,
    rule category_types,
    category text,
    stream text,
    type text,
    data text,
    metadata text,
    expected_version integer,
    id uuid,
    occurred_at timestamptz,
    code text,
    message text,
    total integer,
    completed integer
);

-- Appends several events of one request, all or none.
CREATE FUNCTION append_together(events event_to_append[], head_before bigint,
    INOUT compared bigint, OUT answers append_answer[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
  first CONSTANT event_to_append := events[1];
  event  event_to_append;
  done   record;
  answer append_answer;
BEGIN
  FOREACH event IN ARRAY events LOOP
    done := append_next(
      event.rule, event.category, event.stream, event.type, event.data, event.metadata,
      CASE WHEN event.ordinal = first.ordinal THEN event.expected_version END, event.id, event.occurred_at, null,
      event.code, event.message, event.total, event.completed, head_before, compared);
    compared := done.compared;
    answer := done.answer;
    IF (event.category, event.stream) <> (first.category, first.stream) THEN
      answer.code := 'invalid_event';
      answer.message := format('the events of one request belong to one %s: this one is of another',
                               CASE WHEN event.category = first.category THEN first.category ELSE 'stream' END);
    END IF;
    IF answer.code IS NOT NULL THEN
      RAISE EXCEPTION 'the request is refused' USING ERRCODE = 'JL012';
    END IF;
    answer.ordinal := event.ordinal;
    answers := answers || answer;
  END LOOP;
EXCEPTION WHEN SQLSTATE 'JL012' THEN
  -- What the request did so far is undone. The variables keep why.
  IF event.ordinal > first.ordinal THEN
    answer.message := format('event %s of this request: %s', event.ordinal - first.ordinal + 1, answer.message);
  END IF;
  SELECT array_agg((e.ordinal, null, null, e.id, false, answer.code, answer.message)::append_answer ORDER BY e.ordinal)
    INTO answers FROM unnest(events) AS e;
END
$$;

-- Appends any batch, and decides event by event, in order. The log is locked.
CREATE FUNCTION append_each(categories text[], streams text[], types text[], data text[],
    metadata text[], expected_versions integer[], ids uuid[], occurred_ats timestamptz[],
    requests integer[], codes text[], messages text[], totals integer[],
    completeds integer[]) RETURNS SETOF append_answer
    LANGUAGE plpgsql
    AS $$
DECLARE
  batch       CONSTANT integer := cardinality(streams);
  head_before CONSTANT bigint  := head();
  compared bigint := 0;
  request  record;
  event    event_to_append;
  done     record;
  answer   append_answer;
BEGIN
  FOR request IN
    SELECT array_agg((e.ordinal, t, e.category, e.stream, e.type, e.data, coalesce(e.metadata, '{}'), e.expected, e.id,
                      e.occurred_at, e.code, e.message, e.total, e.completed)::event_to_append ORDER BY e.ordinal)
             AS events
      FROM (
        SELECT e.*, count(*) FILTER (WHERE e.begins) OVER (ORDER BY e.ordinal) AS place
          FROM (
            SELECT e.*, (e.request = lag(e.request) OVER (ORDER BY e.ordinal)) IS NOT TRUE AS begins
              FROM unnest(categories, streams, types, data, metadata, expected_versions, ids, occurred_ats, codes,
                          messages, totals, completeds, requests)
                     WITH ORDINALITY AS e (category, stream, type, data, metadata, expected, id, occurred_at, code,
                                           message, total, completed, request, ordinal)
             WHERE e.ordinal <= batch) AS e) AS e
      LEFT JOIN category_types AS t ON t.category = e.category AND t.type = e.type
     GROUP BY e.place
     ORDER BY e.place
  LOOP
    IF cardinality(request.events) > 1 THEN
      done := append_together(request.events, head_before, compared);
      compared := done.compared;
      RETURN QUERY SELECT * FROM unnest(done.answers);
    ELSE
      event := request.events[1];
      done := append_next(
        event.rule, event.category, event.stream, event.type, event.data, event.metadata, event.expected_version,
        event.id,
        event.occurred_at, null, event.code, event.message, event.total, event.completed, head_before, compared);
      compared := done.compared;
      answer := done.answer;
      answer.ordinal := event.ordinal;
      RETURN NEXT answer;
    END IF;
  END LOOP;
END
$$;

-- What check_streams() finds out about a batch before the log is locked. Arrays are by ordinal, but
-- those of streams by number of the stream.
CREATE TYPE checked_streams AS (
    is_plain boolean,
    ids uuid[],
    streams integer[],
    places integer[],
    stream_categories text[],
    stream_ids text[],
    first_types text[],
    expected integer[]
);

-- A batch is plain here where append_each() would accept all of it, as far as that can be known
-- before the log is locked, and where no claim is released: so all claims are of streams that
-- begin. No job is plain here.
CREATE FUNCTION check_streams(
  categories text[], streams text[], types text[], data text[], metadata text[], expected_versions integer[],
  event_ids uuid[], occurred_ats timestamptz[], requests integer[]
) RETURNS checked_streams
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch  CONSTANT integer := cardinality(streams);

-- Appends a batch that check_streams() found plain. Returns null, and changes nothing, where it is
-- not plain in the log, which is locked.
CREATE FUNCTION append_plain_streams(
  checked checked_streams, categories text[], streams text[], types text[], data text[], metadata text[],
  occurred_ats timestamptz[]
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  last          CONSTANT record := last_event();

-- Appends one event to a stream of another category than job, without sets.
CREATE FUNCTION append_one_to_stream(
  category text, stream text, type text, data text, metadata text, expected_version integer, event_id uuid,
  occurred_at timestamptz
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  id       CONSTANT uuid := coalesce(event_id, uuid_v7());

-- Appends a batch of streams of any categories, as append_batch() does for jobs.
CREATE FUNCTION append_to_streams(
  categories text[], streams text[], types text[], data text[], metadata text[], expected_versions integer[],
  event_ids uuid[], occurred_ats timestamptz[], requests integer[], appender text, turn bigint
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch      CONSTANT integer := cardinality(streams);

-- =================================================================================================
-- The ways into the log take a category: append_event(), append(), append_batch(), the procedure
-- append_and_confirm(), and import. Jobs go the same paths as before, and find their last event by
-- the index that now has the category before the version.
-- =================================================================================================

-- Takes in events of any categories, one by one. The log is locked. Returns the position of the
-- first that is wrong, and why; null where none is, and then all are written.
CREATE FUNCTION import_each(positions bigint[], ids uuid[], categories text[], streams text[],
    versions integer[], types text[], data text[], metadata text[], occurred_ats timestamptz[],
    recorded_ats timestamptz[], OUT wrong_at bigint, OUT wrong text) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
  last    CONSTANT record := last_event();
  before  timestamptz := last.recorded_at;
  event   record;
  done    record;
  answer  append_answer;
BEGIN
  FOR event IN
    SELECT e.*, t AS rule, finding.code, finding.message, finding.total, finding.completed
      FROM unnest(positions, ids, categories, streams, versions, types, data, metadata, occurred_ats, recorded_ats)
             WITH ORDINALITY AS e (position, id, category, stream, version, type, data, metadata, occurred_at,
                                   recorded_at, ordinal)
      LEFT JOIN category_types AS t ON t.category = e.category AND t.type = e.type,
           LATERAL check_event(e.category, e.stream, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, 'null'),
                               e.occurred_at, null) AS finding
     ORDER BY e.ordinal
  LOOP
    wrong_at := last.head + event.ordinal;
    wrong := CASE
      WHEN num_nulls(event.position, event.id, event.category, event.stream, event.version, event.type, event.data,
                     event.metadata, event.recorded_at) > 0
        THEN 'it lacks one of position, event_id, category, stream_id, version, type, data, metadata, recorded_at'
      WHEN event.position <> wrong_at
        THEN format('it says position %s', event.position)
      WHEN NOT is_event_time(event.recorded_at)
        THEN format('it was recorded at %s, which is not within the years 1 to 9999', event.recorded_at)
      WHEN event.recorded_at < before
        THEN format('it was recorded at %s, earlier than the event before', event.recorded_at)
    END;
    IF wrong IS NOT NULL THEN
      RETURN;
    END IF;
    done := append_next(
      event.rule, event.category, event.stream, event.type, event.data, event.metadata, null, event.id,
      event.occurred_at, event.recorded_at, event.code, event.message, event.total, event.completed, last.head, 0);
    answer := done.answer;
    wrong := CASE
      -- A file of events says nothing of their rules.
      WHEN missing_category(event.category) IS NOT NULL
        THEN format('there is no category %s: install it first, by jobledger migrate, with --categories DIR if it is '
                    'one of your own', to_json(left(event.category, 100)))
      WHEN answer.code IS NOT NULL            THEN answer.message
      WHEN answer.duplicate                   THEN format('its event id is at position %s already', answer.position)
      WHEN answer.version <> event.version
        THEN format('it has version %s, and its %s is at version %s', event.version, event.category, answer.version - 1)
    END;
    IF wrong IS NOT NULL THEN
      RETURN;
    END IF;
    before := event.recorded_at;
  END LOOP;
  wrong_at := null;
END
$$;

-- What check_imported() finds, by ordinal.
CREATE TYPE checked_import AS (
    messages text[],
    totals integer[],
    completeds integer[]
);

-- Takes in events of jobs, in sets. The log is locked. Returns as import_each() does.
CREATE FUNCTION import_jobs(positions bigint[], ids uuid[], jobs text[], versions integer[],
    types text[], documents text[], contexts text[], occurred_ats timestamptz[],
    recorded_ats timestamptz[], checked checked_import, OUT wrong_at bigint,
    OUT wrong text) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
  last   CONSTANT record := last_event();
  totals integer[];
BEGIN
  -- What depends on what came before: in the log, and in these lines.
  WITH stream AS MATERIALIZED (
    SELECT s.job, head.version, head.total, head.type
      FROM (SELECT DISTINCT job COLLATE "C" AS job FROM unnest(jobs) AS job) AS s
      LEFT JOIN LATERAL (
        SELECT h.version, h.total, h.type FROM events AS h
         WHERE h.stream_id = s.job AND h.category = 'job' ORDER BY h.version DESC LIMIT 1) AS head ON true
  ),
  event AS (
    SELECT e.*, coalesce(stream.version, 0) AS stream_version,
           row_number() OVER in_stream AS place,
           coalesce(lag(e.type) OVER in_stream, stream.type) AS previous_type,
           coalesce(lag(e.recorded_at) OVER (ORDER BY e.ordinal), last.recorded_at) AS previous_recorded,
           -- The last total that was set: the one with the greatest ordinal.
           coalesce((max(e.ordinal << 32 | e.total) OVER in_stream & 4294967295)::integer,
                    stream.total, 0) AS known_total
      FROM unnest(positions, ids, jobs, versions, types, documents, contexts, recorded_ats,
                  checked.messages, checked.totals, checked.completeds)
             WITH ORDINALITY AS e (position, id, job, version, type, data, metadata, recorded_at,
                                   message, total, completed, ordinal)
      LEFT JOIN stream ON stream.job = e.job
    WINDOW in_stream AS (PARTITION BY e.job ORDER BY e.ordinal)
  ),
  verdict AS (
    SELECT e.ordinal, e.known_total, CASE
             WHEN num_nulls(e.position, e.id, e.job, e.version, e.type, e.data, e.metadata, e.recorded_at) > 0
               THEN 'it lacks one of position, event_id, stream_id, version, type, data, metadata, recorded_at'
             WHEN e.position <> last.head + e.ordinal
               THEN format('it says position %s', e.position)
             WHEN NOT is_event_time(e.recorded_at)
               THEN format('it was recorded at %s, which is not within the years 1 to 9999', e.recorded_at)
             WHEN e.recorded_at < e.previous_recorded
               THEN format('it was recorded at %s, earlier than the event before', e.recorded_at)
             WHEN e.message IS NOT NULL
               THEN e.message
             WHEN e.version <> e.stream_version + e.place
               THEN format('it has version %s, and its job is at version %s', e.version, e.stream_version + e.place - 1)
             WHEN lifecycle_refusal(e.type, e.previous_type) IN ('unknown_job', 'already_queued')
               THEN 'a job begins with queued, and with nothing else'
             WHEN lifecycle_refusal(e.type, e.previous_type) IS NOT NULL
               THEN 'its job has ended; nothing follows an end'
             WHEN exceeds_total(e.completed, e.known_total)
               THEN format('%s of %s runs cannot be completed', e.completed, e.known_total)
           END AS problem
      FROM event AS e
  )
  SELECT array_agg(v.known_total ORDER BY v.ordinal),
         last.head + min(v.ordinal) FILTER (WHERE v.problem IS NOT NULL),
         (array_agg(v.problem ORDER BY v.ordinal) FILTER (WHERE v.problem IS NOT NULL))[1]
    INTO totals, wrong_at, wrong
    FROM verdict AS v;

  IF wrong IS NULL THEN
    PERFORM write_events(positions, ids, jobs, versions, types, documents::json[], contexts::json[], occurred_ats, null,
                         recorded_ats, totals, checked.completeds);
  END IF;
END
$$;

-- =================================================================================================
-- Projections fold events of any category. Types of two categories may have the same name, so an
-- event is chosen by both.
-- =================================================================================================

-- The events that the definition of a projection consumes, in whatever part of the log. The engine
-- sets which these are for each transaction: types of jobs, and kinds of events of other categories
-- as CATEGORY/TYPE, or * for every event. The settings are queries of their own, so that each is
-- split once and not for each event. CASE spares events of jobs the longer comparison, and offers
-- Postgres no category to look for in an index.
CREATE VIEW consumed_events AS
  SELECT *
    FROM foldable_events
   WHERE CASE category
           WHEN 'job'
             THEN type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[])
           ELSE category || '/' || type
                  = ANY ((SELECT string_to_array(current_setting('jobledger.window_kinds'), ','))::text[])
                OR current_setting('jobledger.window_kinds') = '*'
         END;

-- =================================================================================================
-- Tables of one projection may refer to each other, with foreign keys. The ledger takes all tables
-- of a projection over at once, so that it sees both ends of each.
--
-- A foreign key makes whoever deletes rows of one table delete or change rows of the other, and
-- wait for it. Triggers of the other table run then, deferred ones even with the rights of whoever
-- commits. So both ends belong to the owner and are read models of one projection, and nobody
-- else's table is an end.
-- =================================================================================================

-- A foreign key between one of these tables and one that is not among them, in words: what the
-- table among them does. Null if there is none.
CREATE FUNCTION stray_reference(models regclass[], OUT model regclass, OUT problem text)
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  SELECT CASE WHEN conrelid = ANY (models) THEN conrelid ELSE confrelid END::regclass,
         CASE
           WHEN conrelid = ANY (models)
             THEN format('it refers to %s, which is no table of its projection', confrelid::regclass)
           ELSE format('%s refers to it, and is no table of its projection', conrelid::regclass)
         END
    FROM pg_constraint
   WHERE contype = 'f' AND (conrelid = ANY (models)) <> (confrelid = ANY (models))
   ORDER BY conname, conrelid
   LIMIT 1;
END;

-- A function that an expression of the table calls (a default, a constraint, an index, statistics)
-- and that could do anything when it runs; null if there is none. Expressions run with the rights
-- of whoever writes to the table, and behind a foreign key with those of its owner. Which functions
-- an expression uses says pg_depend, but not of those that are Postgres's own, and some of these,
-- such as query_to_xml(), run SQL from a text. So only those are allowed whose result is a matter
-- of their arguments alone, and those that defaults commonly call.
CREATE FUNCTION unsafe_function(model regclass) RETURNS text
LANGUAGE sql STABLE SET search_path FROM CURRENT
BEGIN ATOMIC
  WITH expression (tree) AS (
    SELECT adbin::text FROM pg_attrdef WHERE adrelid = model
    UNION ALL
    SELECT conbin::text FROM pg_constraint WHERE conrelid = model
    UNION ALL
    SELECT stxexprs::text FROM pg_statistic_ext WHERE stxrelid = model
    UNION ALL
    SELECT concat(indexprs::text, indpred::text) FROM pg_index WHERE indrelid = model
  ), called (function) AS (
    SELECT found[1]::oid
      FROM expression, regexp_matches(tree, ':(?:funcid|opfuncid|hashfuncid|negfuncid) ([0-9]+)', 'g') AS found
    UNION
    SELECT oprcode::oid
      FROM expression, regexp_matches(tree, ':opno ([0-9]+)', 'g') AS found
      JOIN pg_operator ON pg_operator.oid = found[1]::oid
  )
  SELECT min(pg_proc.oid::regprocedure::text)
    FROM called
    JOIN pg_proc ON pg_proc.oid = called.function
   WHERE provolatile <> 'i'
     AND NOT (pronamespace = 'pg_catalog'::regnamespace
              AND proname IN ('nextval', 'now', 'transaction_timestamp', 'statement_timestamp', 'clock_timestamp',
                              'gen_random_uuid', 'random', 'timestamptz', 'timestamp', 'date'));
END;

-- Refuses a transaction that does not see what somebody has just added to a table.
CREATE FUNCTION require_present_snapshot() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'tables are taken over in transactions that are READ COMMITTED, not %',
                    upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'insufficient_privilege', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED';
  END IF;
END
$$;

-- The tables of these names in a schema beside the ledger's, taken over; null where there is none.
-- Those that are the owner's already come as they are: a rebuild has put them aside.
CREATE FUNCTION claim_fresh_tables(from_schema text, names text[],
    in_place_of regclass[]) RETURNS regclass[]
    LANGUAGE plpgsql
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  home      CONSTANT text := current_schema();
  projector CONSTANT text := home || '_projector';
  fresh     CONSTANT regclass[] := ARRAY(
    SELECT CASE WHEN from_schema <> home THEN to_regclass(format('%I.%I', from_schema, name)) END
      FROM unnest(names) WITH ORDINALITY AS named (name, place)
     ORDER BY place);
  stranger  CONSTANT text := (
    SELECT min(relname) FROM pg_class
     WHERE oid = ANY (fresh) AND pg_get_userbyid(relowner) NOT IN (projector, home || '_owner'));
  tied      regclass;
  reason    text;
BEGIN
  PERFORM require_present_snapshot();
  IF stranger IS NOT NULL THEN
    RAISE EXCEPTION '%.% is not a table of %', from_schema, stranger, projector
      USING ERRCODE = 'insufficient_privilege',
        HINT = format('As its owner: ALTER TABLE %I.%I OWNER TO %I', from_schema, stranger, projector);
  END IF;
  PERFORM take_ownership(array_agg(model), array_agg(replaced))
     FROM unnest(fresh, in_place_of) AS claimed (model, replaced)
     JOIN pg_class ON pg_class.oid = model AND relowner = projector::regrole
   HAVING count(*) > 0;
  -- The owner's tables come as they are, but not with a foreign key that would tie them to others.
  SELECT stray.model, stray.problem INTO tied, reason FROM stray_reference(array_remove(fresh, null)) AS stray;
  IF reason IS NOT NULL THEN
    RAISE EXCEPTION 'the table % cannot be a read model: %', tied, reason USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN fresh;
END
$$;

-- Makes read models of all tables of a projection, which are in a schema beside the ledger's.
CREATE FUNCTION adopt_tables(from_schema text, names text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'jobledger', 'pg_temp'
    AS $$
DECLARE
  fresh CONSTANT regclass[] := claim_fresh_tables(from_schema, names, null);
BEGIN
  FOR place IN 1..cardinality(fresh) LOOP
    IF fresh[place] IS NULL THEN
      RAISE EXCEPTION 'there is no table %.%', from_schema, names[place] USING ERRCODE = 'undefined_table';
    END IF;
    PERFORM install_read_model(fresh[place], names[place]);
  END LOOP;
END
$$;

-- =================================================================================================
-- Refusals name the stream of any category, and not only jobs.
-- =================================================================================================

CREATE INDEX refusals_by_category ON refusals USING btree (category, number) WHERE (category IS NOT NULL);

-- =================================================================================================
-- What the runner of migrations keeps.
-- =================================================================================================

CREATE TABLE schema_migrations (
    version character varying(128) NOT NULL,
    checksum text
);

ALTER TABLE category_definitions ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY;

ALTER TABLE rebuilds ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;

ALTER TABLE receipts ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY;

ALTER TABLE refusals ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE schema_migrations ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

-- =================================================================================================
-- Rights: what each role has. An auditor has those of a reader, too.
-- =================================================================================================

GRANT EXECUTE ON FUNCTION longest_stream_id() TO jobledger_projector, jobledger_reader,
    jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION is_stream_id(id text) TO jobledger_projector, jobledger_reader,
    jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION is_event_type(type text) TO jobledger_projector, jobledger_reader,
    jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION is_event_time(moment timestamp with time zone) TO jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT SELECT ON ledger TO jobledger_projector, jobledger_reader, jobledger_relay, jobledger_sealer,
    jobledger_subscriber;
GRANT SELECT ON events TO jobledger_projector, jobledger_reader, jobledger_relay, jobledger_sealer,
    jobledger_subscriber;
GRANT EXECUTE ON FUNCTION head() TO jobledger_projector, jobledger_reader, jobledger_relay,
    jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION history(job_id text, category text) TO jobledger_projector,
    jobledger_reader;
GRANT EXECUTE ON FUNCTION position_at(moment timestamp with time zone) TO jobledger_projector,
    jobledger_reader;
GRANT EXECUTE ON FUNCTION await_events(after bigint, longest_wait interval,
    every interval) TO jobledger_projector, jobledger_reader, jobledger_relay, jobledger_sealer;
GRANT EXECUTE ON FUNCTION expect_epoch(expected uuid) TO jobledger_relay;
GRANT SELECT ON serialiser TO jobledger_auditor;
GRANT EXECUTE ON FUNCTION append_event(job_id text, type text, data json, metadata json,
    expected_version integer, event_id uuid, occurred_at timestamp with time zone,
    category text) TO jobledger_appender;
GRANT EXECUTE ON FUNCTION append(jobs text[], types text[], data text[], metadata text[],
    expected_versions integer[], event_ids uuid[], occurred_ats timestamp with time zone[],
    requests integer[], categories text[]) TO jobledger_appender;
GRANT EXECUTE ON FUNCTION append_batch(jobs text[], types text[], data text[], metadata text[],
    expected_versions integer[], event_ids uuid[], occurred_ats timestamp with time zone[],
    requests integer[], appender text, turn bigint, categories text[]) TO jobledger_appender;
GRANT EXECUTE ON FUNCTION append_to_distinct_jobs(jobs text[], types text[], data text[],
    metadata text[], expected_versions integer[], event_ids uuid[],
    occurred_ats timestamp with time zone[], known_versions integer[], appender text,
    turn bigint) TO jobledger_appender;
GRANT EXECUTE ON FUNCTION forget_turns(appender text) TO jobledger_appender;
GRANT SELECT ON checkpoints TO jobledger_projector, jobledger_reader;
GRANT SELECT, INSERT ON checkpoints TO jobledger_relay;
GRANT UPDATE (position, updated_at) ON checkpoints TO jobledger_relay;
GRANT EXECUTE ON FUNCTION advance_checkpoint(of_reader text, from_position bigint,
    to_position bigint) TO jobledger_relay;
GRANT SELECT ON leases TO jobledger_reader;
GRANT SELECT, INSERT ON leases TO jobledger_projector, jobledger_relay, jobledger_sealer;
GRANT UPDATE (expires_at, fence, holder) ON leases TO jobledger_projector, jobledger_relay,
    jobledger_sealer;
GRANT EXECUTE ON FUNCTION longest_lease() TO jobledger_projector, jobledger_reader,
    jobledger_relay, jobledger_sealer;
GRANT EXECUTE ON FUNCTION is_held(until timestamp with time zone) TO jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer;
GRANT EXECUTE ON FUNCTION take_lease(lease text, by_holder text,
    duration interval) TO jobledger_projector, jobledger_relay, jobledger_sealer;
GRANT EXECUTE ON FUNCTION release_lease(lease text, by_holder text) TO jobledger_projector,
    jobledger_relay, jobledger_sealer;
GRANT EXECUTE ON FUNCTION log_holder(OUT pid integer, OUT gid text, OUT username text,
    OUT application text, OUT transaction text, OUT held_for interval, OUT waiting bigint,
    OUT longest_wait interval) TO jobledger_reader, jobledger_relay;
GRANT EXECUTE ON FUNCTION end_log_holder(of_transaction text) TO jobledger_relay;
GRANT SELECT ON subscriptions TO jobledger_reader, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION take_subscription(subscription text, by_holder text, duration interval,
    starting_after bigint, OUT at_position bigint, OUT of_epoch uuid) TO jobledger_subscriber;
GRANT EXECUTE ON FUNCTION acknowledge(subscription text, by_holder text,
    up_to bigint) TO jobledger_subscriber;
GRANT EXECUTE ON FUNCTION acknowledge(subscription text, by_holder text, up_to bigint,
    of_epoch text) TO jobledger_subscriber;
GRANT EXECUTE ON FUNCTION release_subscription(subscription text,
    by_holder text) TO jobledger_subscriber;
GRANT EXECUTE ON FUNCTION forget_subscription(subscription text) TO jobledger_subscriber;
GRANT SELECT ON feed_key TO jobledger_reader, jobledger_relay, jobledger_subscriber;
GRANT SELECT ON projections TO jobledger_reader;
GRANT SELECT, INSERT ON projections TO jobledger_projector;
GRANT UPDATE (definition, error, failed_event, failed_position, name, position, state, tables,
    updated_at) ON projections TO jobledger_projector;
GRANT SELECT ON foldable_events TO jobledger_projector, jobledger_reader;
GRANT SELECT ON new_events TO jobledger_projector;
GRANT SELECT ON receipts TO jobledger_projector, jobledger_reader;
GRANT SELECT ON skipped_events TO jobledger_projector, jobledger_reader;
GRANT SELECT ON drift_checks TO jobledger_projector, jobledger_reader;
GRANT SELECT ON rebuilds TO jobledger_reader;
GRANT SELECT, INSERT, DELETE, UPDATE ON rebuilds TO jobledger_projector;
GRANT SELECT ON rebuild_slices TO jobledger_reader;
GRANT SELECT, INSERT, DELETE, UPDATE ON rebuild_slices TO jobledger_projector;
GRANT SELECT ON replaced_tables TO jobledger_reader;
GRANT SELECT, INSERT, DELETE, UPDATE ON replaced_tables TO jobledger_projector;
GRANT EXECUTE ON FUNCTION retry_projection(of_projection text) TO jobledger_projector;
GRANT EXECUTE ON FUNCTION skip_event(of_projection text, at_position bigint, because text,
    by text) TO jobledger_projector;
GRANT EXECUTE ON FUNCTION record_receipt(of_kind text, of_projection text, of_definition text,
    at_position bigint, row_count bigint, of_digest text, of_live_digest text, event_count bigint,
    in_seconds double precision, worker_count integer, events_a_window bigint,
    blocked_milliseconds double precision, by text) TO jobledger_projector;
GRANT EXECUTE ON FUNCTION record_drift_check(of_projection text, compared bigint, differing bigint,
    at_position bigint, what_differs text) TO jobledger_projector;
GRANT SELECT ON read_models TO jobledger_projector, jobledger_reader;
GRANT EXECUTE ON FUNCTION adopt_table(from_schema text, name text) TO jobledger_projector;
GRANT EXECUTE ON FUNCTION exchange_tables(fresh_schema text, names text[],
    aside_schema text) TO jobledger_projector;
GRANT EXECUTE ON FUNCTION swap_obstacles(names text[]) TO jobledger_projector;
GRANT EXECUTE ON FUNCTION added_indexes(fresh_schema text, name text) TO jobledger_projector;
GRANT EXECUTE ON FUNCTION swap_tables(fresh_schema text, names text[],
    aside_schema text) TO jobledger_projector;
GRANT EXECUTE ON FUNCTION exported_line(e events) TO jobledger_reader;
GRANT SELECT ON seal_tiles TO jobledger_reader, jobledger_sealer;
GRANT SELECT ON seal_checkpoints TO jobledger_reader, jobledger_sealer;
GRANT SELECT ON seal TO jobledger_reader, jobledger_sealer;
GRANT EXECUTE ON FUNCTION add_to_seal(of_epoch uuid, from_size bigint, to_size bigint,
    new_edge bytea, tile_levels integer[], tile_numbers bigint[], tile_hashes bytea[],
    signed_by text, signed_note text) TO jobledger_sealer;
GRANT EXECUTE ON FUNCTION stop_seal(reason text) TO jobledger_sealer;
GRANT SELECT (created_at, id, name, revoked_at, scopes) ON tokens TO jobledger_auditor;
GRANT EXECUTE ON FUNCTION scopes_of_token(token_id text, token_hash bytea) TO jobledger_reader;
GRANT EXECUTE ON FUNCTION token_name(token_id text) TO jobledger_reader;
GRANT SELECT ON refusals TO jobledger_reader;
GRANT SELECT ON refusal_limits TO jobledger_reader;
GRANT SELECT ON refusal_days TO jobledger_reader;
GRANT EXECUTE ON FUNCTION note_refusals(firsts_ago bigint[], lasts_ago bigint[], counts bigint[],
    tokens text[], peers text[], methods text[], paths text[], actors text[], jobs text[],
    types text[], event_ids uuid[], codes text[], details text[],
    categories text[]) TO jobledger_appender;
GRANT EXECUTE ON FUNCTION forget_refusals() TO jobledger_appender;
GRANT SELECT ON rights TO jobledger_auditor;
GRANT EXECUTE ON FUNCTION missing_rights() TO jobledger_appender, jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT SELECT ON epochs TO jobledger_projector, jobledger_reader, jobledger_relay, jobledger_sealer,
    jobledger_subscriber;
GRANT EXECUTE ON FUNCTION shared_position(of_epoch text,
    at_position bigint) TO jobledger_projector, jobledger_reader, jobledger_relay,
    jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION rejoin_subscription(subscription text, by_holder text,
    OUT at_position bigint, OUT of_epoch uuid) TO jobledger_subscriber;
GRANT EXECUTE ON FUNCTION demanded_durability() TO jobledger_appender, jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION require_standbys() TO jobledger_appender, jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION durable_position(level text) TO jobledger_appender, jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION durable_place(level text) TO jobledger_appender, jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION await_durable_events(after bigint, longest_wait interval,
    every interval) TO jobledger_projector, jobledger_reader, jobledger_relay, jobledger_sealer;
GRANT EXECUTE ON FUNCTION confirm_afterwards() TO jobledger_appender;
GRANT SELECT ON losses TO jobledger_reader;
GRANT EXECUTE ON FUNCTION note_loss(of_reader text, of_epoch text,
    at_position bigint) TO jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT SELECT ON seal_forks TO jobledger_reader, jobledger_sealer;
GRANT EXECUTE ON FUNCTION add_seal_fork(in_epoch uuid, signed_by text, ended_size bigint,
    ended_epoch uuid, shared_size bigint, succeeded_by text, signed_note text) TO jobledger_sealer;
GRANT SELECT ON known_losses TO jobledger_reader;
GRANT EXECUTE ON FUNCTION notice_restore(of_epoch text, positions bigint[],
    ids uuid[]) TO jobledger_relay;
GRANT EXECUTE ON PROCEDURE append_and_confirm(IN job_id text, IN type text, IN data json,
    IN metadata json, IN expected_version integer, INOUT event_id uuid,
    IN occurred_at timestamp with time zone, INOUT "position" bigint, INOUT version integer,
    INOUT duplicate boolean, IN category text) TO jobledger_appender;
GRANT EXECUTE ON FUNCTION is_category_name(name text) TO jobledger_projector, jobledger_reader,
    jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION is_type_name(type text) TO jobledger_projector, jobledger_reader,
    jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT SELECT ON categories TO jobledger_reader;
GRANT SELECT ON category_types TO jobledger_reader;
GRANT SELECT ON category_life TO jobledger_reader;
GRANT SELECT ON category_unique TO jobledger_reader;
GRANT SELECT ON category_references TO jobledger_reader;
GRANT SELECT ON category_definitions TO jobledger_reader;
GRANT SELECT ON claims TO jobledger_reader;
GRANT EXECUTE ON FUNCTION claimed_value(data jsonb, key text,
    ignoring_case boolean) TO jobledger_reader;
GRANT EXECUTE ON FUNCTION claim_spans(of_category text) TO jobledger_reader;
GRANT EXECUTE ON FUNCTION claim_differences() TO jobledger_reader;
GRANT EXECUTE ON FUNCTION missing_kind(category text, types text[]) TO jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT EXECUTE ON FUNCTION holder_of(of_category text, of_key text,
    of_value text) TO jobledger_reader;
GRANT EXECUTE ON FUNCTION other_holder(of_category text, of_stream text, of_type text,
    of_data json) TO jobledger_reader;
GRANT SELECT ON consumed_events TO jobledger_projector, jobledger_reader;
GRANT EXECUTE ON FUNCTION adopt_tables(from_schema text, names text[]) TO jobledger_projector;
GRANT USAGE ON SCHEMA jobledger TO jobledger_appender, jobledger_auditor, jobledger_projector,
    jobledger_reader, jobledger_relay, jobledger_sealer, jobledger_subscriber;
GRANT SELECT ON schema_migrations TO jobledger_auditor;
