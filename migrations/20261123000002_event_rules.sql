-- What an event must look like. Everything here depends on the event alone, so it is checked before the log is locked.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- A fresh UUID of version 7: the milliseconds since 1970 and then random bits, so that ids made together lie together in the index.
CREATE FUNCTION uuid_v7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
  set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
    52, 1), 53, 1),
  'hex')::uuid;

-- The text as jsonb, or why jsonb cannot hold it: \u0000, lone surrogates, numbers out of range, broken syntax.
CREATE FUNCTION parse_json(source text, OUT value jsonb, OUT problem text)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  detail text;
BEGIN
  value := source::jsonb;
  -- Beyond the range of a double a number of ten characters can take 130,000 when it is written out.
  IF source ~ '[eE][-+]?[0-9]{2}|[0-9]{200}' AND value @? '$.** ? (@.type() == "number" && (@.abs() > 1.8e308 || (@ != 0 && @.abs() < 4.9e-324)))' THEN
    problem := 'holds a number that is out of the range of a double';
  -- Parsers differ in how deep they go; nobody downstream may be stuck on what was accepted here.
  ELSIF length(source) > 256 AND value @? '$.**{129}' THEN
    problem := 'is nested more than 128 levels deep';
  END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  problem := 'is not acceptable JSON: ' || left(concat_ws(': ', sqlerrm, nullif(detail, '')), 500);
END
$$;

CREATE FUNCTION is_count(value jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN jsonb_typeof(value) = 'number' AND value::numeric BETWEEN 0 AND 2147483647 AND value::numeric = trunc(value::numeric);
END
$$;

CREATE FUNCTION is_text(value jsonb, longest integer) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN jsonb_typeof(value) = 'string' AND length(value #>> '{}') BETWEEN 1 AND longest;

-- What is wrong with a list of runs, null where nothing is.
CREATE FUNCTION problem_with_runs(runs jsonb, index_required boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  run jsonb;
BEGIN
  IF jsonb_typeof(runs) <> 'array' THEN
    RETURN 'must be an array';
  END IF;
  FOR run IN SELECT value FROM jsonb_array_elements(runs) LOOP
    IF jsonb_typeof(run) <> 'object' THEN
      RETURN 'must hold objects';
    ELSIF NOT coalesce(is_count(nullif(run -> 'run_index', 'null')), NOT index_required) THEN
      RETURN 'need "run_index", an integer from 0 to 2147483647';
    ELSIF jsonb_typeof(coalesce(nullif(run -> 'variables', 'null'), '{}')) <> 'object' THEN
      RETURN 'need an object as "variables"';
    ELSIF jsonb_typeof(coalesce(nullif(run -> 'metrics', 'null'), '{}')) <> 'object' THEN
      RETURN 'need an object as "metrics"';
    END IF;
  END LOOP;
  RETURN null;
END
$$;

-- The product of the variables' counts; a variable without a count has as many as it has values. Null where something is wrong.
CREATE FUNCTION product_of_counts(variables jsonb) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  variable jsonb;
  product  numeric := CASE WHEN variables = '[]' THEN 0 ELSE 1 END;
BEGIN
  FOR variable IN SELECT value FROM jsonb_array_elements(variables) LOOP
    IF jsonb_typeof(variable) <> 'object'
      OR NOT coalesce(is_text(variable -> 'name', 500), false)
      OR jsonb_typeof(coalesce(nullif(variable -> 'values', 'null'), '[]')) <> 'array'
      OR NOT coalesce(is_count(nullif(variable -> 'count', 'null')), true)
    THEN
      RETURN null;
    END IF;
    product := least(product, 1e12) * coalesce(
      nullif(variable -> 'count', 'null')::numeric,
      jsonb_array_length(coalesce(nullif(variable -> 'values', 'null'), '[]')));
  END LOOP;
  RETURN product;
END
$$;

-- What is wrong with the data of a job's event, null where nothing is. An explicit null counts as absent.
--   total      the total that the event sets, if it sets one
--   completed  how many runs the event says are done
CREATE FUNCTION check_job_data(type text, data jsonb, OUT problem text, OUT total integer, OUT completed integer)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  variables jsonb   := coalesce(nullif(data -> 'variables', 'null'), '[]');
  product   numeric;
  given     jsonb   := nullif(data -> 'total', 'null');
  results   jsonb   := nullif(data -> 'results', 'null');
BEGIN
  IF type IN ('queued', 'progress') AND given IS NOT NULL THEN
    IF is_count(given) THEN
      total := given::integer;
    ELSE
      problem := '"total" must be an integer from 0 to 2147483647';
      RETURN;
    END IF;
  END IF;

  CASE type
    WHEN 'queued' THEN
      IF jsonb_typeof(variables) = 'array' THEN
        product := product_of_counts(variables);
      END IF;
      problem := CASE
        WHEN NOT coalesce(is_text(data -> 'name', 500), false)
          THEN '"name" must be a text of 1 to 500 characters'
        WHEN coalesce(nullif(data -> 'kind', 'null'), '"server"') NOT IN ('"server"', '"local"')
          THEN '"kind" must be "server" or "local"'
        WHEN product IS NULL
          THEN '"variables" must be an array of {"name": text, "values": array, "count": integer}'
        WHEN total IS NULL AND product > 2147483647
          THEN 'the product of the variables'' counts is above 2147483647'
        WHEN jsonb_typeof(coalesce(nullif(data -> 'assignments_preview', 'null'), '[]')) <> 'array'
          THEN '"assignments_preview" must be an array'
      END;
      IF problem IS NULL THEN
        total := coalesce(total, product::integer);
      END IF;

    WHEN 'progress' THEN
      IF NOT coalesce(is_count(data -> 'completed'), false) THEN
        problem := '"completed" must be an integer from 0 to 2147483647';
      ELSIF jsonb_typeof(coalesce(nullif(data -> 'message', 'null'), '""')) <> 'string' THEN
        problem := '"message" must be a text';
      ELSE
        completed := (data -> 'completed')::integer;
        problem := 'the "runs" ' || problem_with_runs(coalesce(nullif(data -> 'runs', 'null'), '[]'), index_required => true);
      END IF;

    WHEN 'truncated' THEN
      problem := CASE
        WHEN NOT coalesce(is_text(data -> 'reason', 10000), false)
          THEN '"reason" must be a text of 1 to 10000 characters'
        WHEN NOT coalesce(is_count(nullif(data -> 'limit', 'null')), true)
          THEN '"limit" must be an integer from 0 to 2147483647'
        WHEN NOT coalesce(is_count(nullif(data -> 'dropped', 'null')), true)
          THEN '"dropped" must be an integer from 0 to 2147483647'
      END;

    WHEN 'finished', 'failed' THEN
      problem := CASE
        WHEN jsonb_typeof(results) <> 'object'
          THEN '"results" must be an object'
        WHEN type = 'failed' AND NOT coalesce(is_text(data -> 'error', 1000000), false)
          THEN '"error" must be a text that is not empty'
        WHEN type = 'finished' AND NOT coalesce(is_text(nullif(nullif(data -> 'view_url', 'null'), '""'), 500), true)
          THEN '"view_url" must be a text of at most 500 characters'
        WHEN type = 'finished' AND NOT coalesce(is_text(nullif(nullif(data -> 'csv_url', 'null'), '""'), 500), true)
          THEN '"csv_url" must be a text of at most 500 characters'
        ELSE 'the "runs" of "results" ' || problem_with_runs(coalesce(nullif(results -> 'runs', 'null'), '[]'), index_required => false)
      END;
  END CASE;
END
$$;

-- Everything that can be wrong with an event whatever the log holds: code and message are null where nothing is.
CREATE FUNCTION check_event(
  job text, type text, data text, metadata text, occurred_at timestamptz, expected_version integer,
  OUT code text, OUT message text, OUT total integer, OUT completed integer)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  longest_data     CONSTANT integer := 8 * 1024 * 1024;
  longest_metadata CONSTANT integer := 64 * 1024;
  content          record;
  context          record;
  finding          record;
BEGIN
  code := 'too_large';
  IF octet_length(data) > longest_data THEN
    message := format('data has %s bytes; the limit is %s', octet_length(data), longest_data);
    RETURN;
  ELSIF octet_length(metadata) > longest_metadata THEN
    message := format('metadata has %s bytes; the limit is %s', octet_length(metadata), longest_metadata);
    RETURN;
  END IF;

  code := 'invalid_event';
  message := CASE
    WHEN job IS NULL OR length(job) NOT BETWEEN 1 AND 255
      THEN format('a job id has 1 to 255 characters; this one has %s', coalesce(length(job), 0))
    WHEN job ~ '[\x01-\x1f\x7f]'
      THEN 'a job id has no control characters such as newlines or tabs'
    WHEN type IS NULL OR type NOT IN ('queued', 'progress', 'truncated', 'finished', 'failed')
      THEN format('%s is no event type; use queued, progress, truncated, finished or failed', coalesce(quote_literal(left(type, 100)), 'null'))
    WHEN NOT isfinite(occurred_at) OR occurred_at NOT BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'
      THEN 'occurred_at must lie in the years 1 to 9999'
    WHEN expected_version < 0
      THEN format('an expected version is 0 (none) or more, not %s', expected_version)
  END;
  IF message IS NOT NULL THEN
    RETURN;
  END IF;

  content := parse_json(data);
  context := parse_json(metadata);
  message := CASE
    WHEN content.problem IS NOT NULL THEN 'data ' || content.problem
    WHEN context.problem IS NOT NULL THEN 'metadata ' || context.problem
    WHEN jsonb_typeof(content.value) <> 'object' THEN 'data must be an object, not ' || jsonb_typeof(content.value)
    WHEN jsonb_typeof(context.value) <> 'object' THEN 'metadata must be an object, not ' || jsonb_typeof(context.value)
    WHEN EXISTS (
      SELECT FROM unnest(ARRAY['actor', 'correlation_id', 'causation_id', 'traceparent']) AS name
      WHERE jsonb_typeof(nullif(context.value -> name, 'null')) <> 'string')
      THEN '"actor", "correlation_id", "causation_id" and "traceparent" of metadata must be texts'
  END;
  IF message IS NOT NULL THEN
    RETURN;
  END IF;

  finding := check_job_data(type, content.value);
  message := finding.problem;
  total := finding.total;
  completed := finding.completed;
  IF message IS NULL THEN
    code := null;
  END IF;
END
$$;

-- Whether a retry brings what is in the log already. The same JSON in other bytes is the same content, for many encoders
-- do not keep the order of keys; the trace context is not content, for every attempt has its own.
CREATE FUNCTION is_same_content(a_data text, b_data text, a_metadata text, b_metadata text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN (a_data = b_data OR (parse_json(a_data)).value = (parse_json(b_data)).value)
   AND (a_metadata = b_metadata
        OR (parse_json(a_metadata)).value - '{traceparent,tracestate}'::text[]
         = (parse_json(b_metadata)).value - '{traceparent,tracestate}'::text[]);

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION is_same_content(text, text, text, text);
DROP FUNCTION check_event(text, text, text, text, timestamptz, integer);
DROP FUNCTION check_job_data(text, jsonb);
DROP FUNCTION product_of_counts(jsonb);
DROP FUNCTION problem_with_runs(jsonb, boolean);
DROP FUNCTION is_text(jsonb, integer);
DROP FUNCTION is_count(jsonb);
DROP FUNCTION parse_json(text);
DROP FUNCTION uuid_v7();
