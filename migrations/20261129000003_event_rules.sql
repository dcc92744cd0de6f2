-- What one event must look like by itself, whatever the log holds. It is checked before the log is
-- locked.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

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

-- JSON --------------------------------------------------------------------------------------------

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
CREATE FUNCTION parse_json(source text, OUT value jsonb, OUT problem text)
LANGUAGE plpgsql IMMUTABLE AS $$
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
$$;

-- Null where the value is missing.
CREATE FUNCTION is_count(value jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
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

-- Data --------------------------------------------------------------------------------------------
--
-- In all data, null counts as missing. The functions find which member is wrong; the texts that say
-- why are made only where one is, because large expressions cost time even where nothing is wrong.

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
LANGUAGE plpgsql IMMUTABLE AS $$
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
  run   jsonb;
  place integer := 0;
  wrong text;
BEGIN
  IF NOT is_of_type(runs, 'array') THEN
    RETURN ' must be an array of ' || form || excerpt(runs);
  END IF;
  FOR run IN SELECT value FROM jsonb_array_elements(nullif(runs, 'null')) LOOP
    wrong := CASE
      WHEN jsonb_typeof(run) <> 'object'                                                         THEN ''
      WHEN NOT coalesce(is_count(nullif(run -> 'run_index', 'null')), NOT index_required)        THEN 'run_index'
      WHEN NOT is_of_type(run -> 'variables', 'object')                                          THEN 'variables'
      WHEN NOT is_of_type(run -> 'metrics', 'object')                                            THEN 'metrics'
    END;
    IF wrong = '' THEN
      RETURN format('[%s] must be an object ', place) || form || excerpt(run);
    ELSIF wrong IS NOT NULL THEN
      RETURN format('[%s]: ', place) || problem_with_member(wrong, run -> wrong);
    END IF;
    place := place + 1;
  END LOOP;
  RETURN null;
END
$$;

-- Also returns the product of the variables' counts, which is the default of a job's total. A
-- variable without a count has as many as it has values.
CREATE FUNCTION check_variables(variables jsonb, OUT problem text, OUT product numeric)
LANGUAGE plpgsql IMMUTABLE AS $$
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
CREATE FUNCTION check_data(type text, data jsonb, OUT problem text, OUT total integer, OUT completed integer)
LANGUAGE plpgsql IMMUTABLE AS $$
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
CREATE FUNCTION check_event(
  job text, type text, data text, metadata text, occurred_at timestamptz, expected_version integer,
  OUT code text, OUT message text, OUT total integer, OUT completed integer)
LANGUAGE plpgsql IMMUTABLE AS $$
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
    WHEN coalesce(job, '') = ''
      THEN format('the job id is empty: it has 1 to %s characters', longest_stream_id())
    WHEN length(job) > longest_stream_id()
      THEN format('the job id %s… has %s characters, and the limit is %s',
                  to_json(left(job, 60)), length(job), longest_stream_id())
    WHEN NOT is_stream_id(job)
      THEN format('the job id %s has a control character such as a newline or a tab: take it out',
        to_json(left(job, 100)))
    WHEN is_event_type(type) IS NOT TRUE
      THEN format('%s is not an event type; use queued, progress, truncated, finished or failed',
                  coalesce(quote_literal(left(type, 100)), 'null'))
    WHEN NOT is_event_time(occurred_at)
      THEN 'occurred_at must lie in the years 1 to 9999; leave it out where nobody knows when it was'
    WHEN expected_version < 0
      THEN format('an expected version is 0 (the job must not exist yet) or more, not %s; leave it out where any '
                  'will do',
                  expected_version)
  END;
  IF message IS NOT NULL THEN
    RETURN;
  END IF;

  content := parse_json(data);
  context := parse_json(metadata);
  message := CASE
    WHEN content.problem IS NOT NULL THEN 'data ' || content.problem
    WHEN context.problem IS NOT NULL THEN 'metadata ' || context.problem
    WHEN jsonb_typeof(content.value) <> 'object'
      THEN format('data must be a JSON object such as {"completed": 5}, not %s', excerpt(content.value))
    WHEN jsonb_typeof(context.value) <> 'object'
      THEN format('metadata must be a JSON object such as {"actor": "ada"}, not %s', excerpt(context.value))
    ELSE (SELECT format('"%s" of metadata must be a text, in quotes, not %s', name, excerpt(context.value -> name))
            FROM unnest('{actor,correlation_id,causation_id,traceparent}'::text[])
                   WITH ORDINALITY AS known (name, place)
           WHERE jsonb_typeof(nullif(context.value -> name, 'null')) <> 'string'
           ORDER BY place LIMIT 1)
  END;
  IF message IS NOT NULL THEN
    RETURN;
  END IF;

  finding := check_data(type, content.value);
  message := finding.problem;
  total := finding.total;
  completed := finding.completed;
  IF message IS NULL THEN
    code := null;
  END IF;
END
$$;

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION
  check_event(text, text, text, text, timestamptz, integer), check_data(text, jsonb), check_variables(jsonb),
  problem_with_runs(jsonb, boolean), problem_with_member(text, jsonb), excerpt(jsonb), longest_text(text),
  is_of_type(jsonb, text), is_text(jsonb, integer), is_count(jsonb), parse_json(text), is_nested_too_deep(jsonb),
  has_number_out_of_range(jsonb), uuid_v7(), largest_count(), longest_metadata(), longest_data();
