-- What a refusal says is read by somebody who has not read the documents: which key, what stands there, what may stand there, and what to do.
-- What is refused, and with which code, is what it was.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The beginning of a value, for who has sent it.
CREATE FUNCTION shown(value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN length(value::text) > 60 THEN left(value::text, 60) || '…' ELSE value::text END;

-- What is wrong with a text that is required. Null, and what is null in JSON, is missing.
CREATE FUNCTION problem_with_text(key text, value jsonb, longest integer) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
  WHEN nullif(value, 'null') IS NULL
    THEN format('"%s" is missing: it must be a text of 1 to %s characters', key, longest)
  WHEN jsonb_typeof(value) <> 'string'
    THEN format('"%s" must be a text of 1 to %s characters, in quotes, not %s', key, longest, shown(value))
  WHEN value = '""'
    THEN format('"%s" is empty: it must be a text of 1 to %s characters', key, longest)
  ELSE format('"%s" has %s characters, and the limit is %s: cut it, and keep the whole elsewhere', key, length(value #>> '{}'), longest)
END;

CREATE FUNCTION problem_with_count(key text, value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
  WHEN nullif(value, 'null') IS NULL THEN format('"%s" is missing: it must be an integer from 0 to 2147483647', key)
  ELSE format('"%s" must be an integer from 0 to 2147483647, not %s', key, shown(value))
END;

-- Why product_of_counts() has no answer.
CREATE FUNCTION problem_with_variables(variables jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  variable jsonb;
  place    bigint;
BEGIN
  IF jsonb_typeof(variables) <> 'array' THEN
    RETURN '"variables" must be an array of {"name": text, "values": array, "count": integer}, not ' || shown(variables);
  END IF;
  FOR variable, place IN SELECT value, ordinality - 1 FROM jsonb_array_elements(variables) WITH ORDINALITY LOOP
    IF jsonb_typeof(variable) <> 'object' THEN
      RETURN format('"variables"[%s] must be an object {"name": text, "values": array, "count": integer}, not %s', place, shown(variable));
    ELSIF NOT coalesce(is_text(variable -> 'name', 500), false) THEN
      RETURN format('"variables"[%s]: ', place) || problem_with_text('name', variable -> 'name', 500);
    ELSIF jsonb_typeof(coalesce(nullif(variable -> 'values', 'null'), '[]')) <> 'array' THEN
      RETURN format('"variables"[%s]: "values" must be an array, not %s', place, shown(variable -> 'values'));
    ELSIF NOT coalesce(is_count(nullif(variable -> 'count', 'null')), true) THEN
      RETURN format('"variables"[%s]: ', place) || problem_with_count('count', variable -> 'count');
    END IF;
  END LOOP;
  RETURN null;
END
$$;

-- Which parts of two events that have one id are not the same, as is_same_content() and its callers compare them.
CREATE FUNCTION differing_parts(
  a_job text, b_job text, a_type text, b_type text, a_data text, b_data text, a_metadata text, b_metadata text, a_moment timestamptz,
  b_moment timestamptz
) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN concat_ws(', ',
  CASE WHEN a_job <> b_job THEN 'job' END,
  CASE WHEN a_type <> b_type THEN 'type' END,
  CASE WHEN a_data <> b_data
         -- What is larger than anything in the log is not worth parsing.
         AND CASE WHEN octet_length(b_data) > 8388608 THEN true
                  ELSE (parse_json(a_data)).value IS DISTINCT FROM (parse_json(b_data)).value OR (parse_json(b_data)).value IS NULL END
       THEN 'data' END,
  CASE WHEN a_metadata <> b_metadata
         AND CASE WHEN octet_length(b_metadata) > 8388608 THEN true
                  ELSE ((parse_json(a_metadata)).value - '{traceparent,tracestate}'::text[]
                        IS DISTINCT FROM (parse_json(b_metadata)).value - '{traceparent,tracestate}'::text[])
                       OR (parse_json(b_metadata)).value IS NULL END
       THEN 'metadata' END,
  CASE WHEN a_moment IS DISTINCT FROM b_moment THEN 'occurred_at' END);

-- The text as jsonb, or why jsonb cannot hold it: \u0000, lone surrogates, numbers out of range, broken syntax.
CREATE OR REPLACE FUNCTION parse_json(source text, OUT value jsonb, OUT problem text)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  detail text;
BEGIN
  value := source::jsonb;
  -- Beyond the range of a double a number of ten characters can take 130,000 when it is written out.
  IF source ~ '[eE][-+]?[0-9]{2}|[0-9]{200}' AND value @? '$.** ? (@.type() == "number" && (@.abs() > 1.8e308 || (@ != 0 && @.abs() < 4.9e-324)))' THEN
    problem := 'holds a number that is out of the range of a double: write it as a text';
  -- Parsers differ in how deep they go; nobody downstream may be stuck on what was accepted here.
  ELSIF length(source) > 256 AND value @? '$.**{129}' THEN
    problem := 'is nested more than 128 levels deep: flatten it, or write the inner part as a text';
  END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  problem := CASE
    WHEN source ~ '\A\s*\Z' THEN 'is empty: write {} where there is nothing to say'
    ELSE 'is not acceptable JSON: ' || rtrim(left(concat_ws(': ', sqlerrm, nullif(detail, '')), 500), '.')
         -- As Python's json.dumps and others write a float that is none.
         || CASE WHEN source ~ '(^|[:,\s\[])-?(NaN|Infinity)($|[,\s}\]])' THEN '; NaN and Infinity are no JSON: write null in their place' ELSE '' END
  END;
END
$$;

-- What is wrong with a list of runs, to be read right behind its name; null where nothing is.
CREATE OR REPLACE FUNCTION problem_with_runs(runs jsonb, index_required boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  run   jsonb;
  place bigint;
BEGIN
  IF jsonb_typeof(runs) <> 'array' THEN
    RETURN ' must be an array of {"run_index": integer, "variables": object, "metrics": object}, not ' || shown(runs);
  END IF;
  FOR run IN SELECT value FROM jsonb_array_elements(runs) LOOP
    IF jsonb_typeof(run) <> 'object'
      OR NOT coalesce(is_count(nullif(run -> 'run_index', 'null')), NOT index_required)
      OR jsonb_typeof(coalesce(nullif(run -> 'variables', 'null'), '{}')) <> 'object'
      OR jsonb_typeof(coalesce(nullif(run -> 'metrics', 'null'), '{}')) <> 'object'
    THEN
      -- Which one it is, is counted where somebody wants to know.
      place := (SELECT min(ordinality) - 1 FROM jsonb_array_elements(runs) WITH ORDINALITY WHERE value = run);
      RETURN format('[%s]', place) || CASE
        WHEN jsonb_typeof(run) <> 'object'
          THEN ' must be an object {"run_index": integer, "variables": object, "metrics": object}, not ' || shown(run)
        WHEN NOT coalesce(is_count(nullif(run -> 'run_index', 'null')), NOT index_required)
          THEN ': ' || problem_with_count('run_index', run -> 'run_index')
        WHEN jsonb_typeof(coalesce(nullif(run -> 'variables', 'null'), '{}')) <> 'object'
          THEN ': "variables" must be an object, not ' || shown(run -> 'variables')
        ELSE ': "metrics" must be an object, not ' || shown(run -> 'metrics')
      END;
    END IF;
  END LOOP;
  RETURN null;
END
$$;

-- What is wrong with the data of a job's event, null where nothing is. An explicit null counts as absent.
--   total      the total that the event sets, if it sets one
--   completed  how many runs the event says are done
CREATE OR REPLACE FUNCTION check_job_data(type text, data jsonb, OUT problem text, OUT total integer, OUT completed integer)
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
      problem := problem_with_count('total', given);
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
          THEN problem_with_text('name', data -> 'name', 500)
        WHEN coalesce(nullif(data -> 'kind', 'null'), '"server"') NOT IN ('"server"', '"local"')
          THEN '"kind" must be "server" or "local", not ' || shown(data -> 'kind')
        WHEN product IS NULL
          THEN problem_with_variables(variables)
        WHEN total IS NULL AND product > 2147483647
          THEN 'the product of the variables'' counts is above 2147483647: say "total" beside them'
        WHEN jsonb_typeof(coalesce(nullif(data -> 'assignments_preview', 'null'), '[]')) <> 'array'
          THEN '"assignments_preview" must be an array, not ' || shown(data -> 'assignments_preview')
      END;
      IF problem IS NULL THEN
        total := coalesce(total, product::integer);
      END IF;
    WHEN 'progress' THEN
      IF NOT coalesce(is_count(data -> 'completed'), false) THEN
        problem := problem_with_count('completed', data -> 'completed');
      ELSIF jsonb_typeof(coalesce(nullif(data -> 'message', 'null'), '""')) <> 'string' THEN
        problem := '"message" must be a text, in quotes, not ' || shown(data -> 'message');
      ELSE
        completed := (data -> 'completed')::integer;
        problem := '"runs"' || problem_with_runs(coalesce(nullif(data -> 'runs', 'null'), '[]'), index_required => true);
      END IF;
    WHEN 'truncated' THEN
      problem := CASE
        WHEN NOT coalesce(is_text(data -> 'reason', 10000), false)
          THEN problem_with_text('reason', data -> 'reason', 10000)
        WHEN NOT coalesce(is_count(nullif(data -> 'limit', 'null')), true)
          THEN problem_with_count('limit', data -> 'limit')
        WHEN NOT coalesce(is_count(nullif(data -> 'dropped', 'null')), true)
          THEN problem_with_count('dropped', data -> 'dropped')
      END;
    WHEN 'finished', 'failed' THEN
      problem := CASE
        WHEN jsonb_typeof(results) <> 'object'
          THEN '"results" must be an object {"summary": object, "runs": array}, not ' || shown(results)
        WHEN type = 'failed' AND NOT coalesce(is_text(data -> 'error', 1000000), false)
          THEN problem_with_text('error', data -> 'error', 1000000)
        WHEN type = 'finished' AND NOT coalesce(is_text(nullif(nullif(data -> 'view_url', 'null'), '""'), 500), true)
          THEN problem_with_text('view_url', data -> 'view_url', 500)
        WHEN type = 'finished' AND NOT coalesce(is_text(nullif(nullif(data -> 'csv_url', 'null'), '""'), 500), true)
          THEN problem_with_text('csv_url', data -> 'csv_url', 500)
        ELSE 'the "runs" of "results"' || problem_with_runs(coalesce(nullif(results -> 'runs', 'null'), '[]'), index_required => false)
      END;
  END CASE;
END
$$;

-- Everything that can be wrong with an event whatever the log holds: code and message are null where nothing is.
CREATE OR REPLACE FUNCTION check_event(
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
    message := format('data has %s bytes, and the limit is %s (8 MiB): keep what is large elsewhere, and its address in the data',
                      octet_length(data), longest_data);
    RETURN;
  ELSIF octet_length(metadata) > longest_metadata THEN
    message := format('metadata has %s bytes, and the limit is %s (64 KiB): what the event is about belongs into its data',
                      octet_length(metadata), longest_metadata);
    RETURN;
  END IF;
  code := 'invalid_event';
  message := CASE
    WHEN coalesce(job, '') = ''
      THEN 'the job id is empty: it has 1 to 255 characters'
    WHEN length(job) > 255
      THEN format('the job id %s… has %s characters, and the limit is 255', to_json(left(job, 60)), length(job))
    WHEN job ~ '[\x01-\x1f\x7f]'
      THEN format('the job id %s has a control character such as a newline or a tab: take it out', to_json(left(job, 100)))
    WHEN type IS NULL OR type NOT IN ('queued', 'progress', 'truncated', 'finished', 'failed')
      THEN format('%s is no event type; use queued, progress, truncated, finished or failed', coalesce(quote_literal(left(type, 100)), 'null'))
    WHEN NOT isfinite(occurred_at) OR occurred_at NOT BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'
      THEN 'occurred_at must lie in the years 1 to 9999; leave it out where nobody knows when it was'
    WHEN expected_version < 0
      THEN format('an expected version is 0 (the job must not exist yet) or more, not %s; leave it out where any will do', expected_version)
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
      THEN format('data must be a JSON object such as {"completed": 5}, not %s', shown(content.value))
    WHEN jsonb_typeof(context.value) <> 'object'
      THEN format('metadata must be a JSON object such as {"actor": "ada"}, not %s', shown(context.value))
    ELSE (SELECT format('"%s" of metadata must be a text, in quotes, not %s', name, shown(context.value -> name))
            FROM unnest(ARRAY['actor', 'correlation_id', 'causation_id', 'traceparent']) WITH ORDINALITY AS known (name, place)
           WHERE jsonb_typeof(nullif(context.value -> name, 'null')) <> 'string'
           ORDER BY place LIMIT 1)
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


-- Decides event by event, in order: any batch whatever, one whose events are refused, repeated, or new. The log is locked.
CREATE OR REPLACE FUNCTION append_each(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], ids uuid[], occurred_ats timestamptz[],
  requests integer[], codes text[], messages text[], totals integer[], completeds integer[]
) RETURNS SETOF append_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch           CONSTANT integer := cardinality(jobs);
  largest_compare CONSTANT integer := 8 * 1024 * 1024;

  -- By ordinal: what the event is answered.
  positions       bigint[]  := array_fill(null::bigint, ARRAY[batch]);
  versions        integer[] := array_fill(null::integer, ARRAY[batch]);
  duplicates      boolean[] := array_fill(false, ARRAY[batch]);
  accepted        boolean[] := array_fill(false, ARRAY[batch]);

  -- By job, numbered within the call: where its stream stands.
  stream_versions integer[] := array_fill(null::integer, ARRAY[batch]);
  stream_totals   integer[] := array_fill(null::integer, ARRAY[batch]);
  stream_ended    boolean[] := array_fill(null::boolean, ARRAY[batch]);
  -- By event id, numbered within the call: the ordinal that was accepted under it; and each ordinal's number.
  accepted_as     integer[] := array_fill(null::integer, ARRAY[batch]);
  id_numbers      integer[] := array_fill(null::integer, ARRAY[batch]);

  head_position   bigint;
  head_recorded   timestamptz;
  now_recorded    timestamptz;
  next_position   bigint;

  event           record;
  request         bigint := null;
  request_start   integer;
  request_stream  integer;
  request_refused boolean;
  before_position bigint;
  before_version  integer;
  before_total    integer;
  before_ended    boolean;
  other           integer;
  refusal         text;
  reason          text;
BEGIN
  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  -- A batch that looked plain comes without codes.
  codes := coalesce(codes, array_fill(null::text, ARRAY[batch]));
  messages := coalesce(messages, array_fill(null::text, ARRAY[batch]));
  head_position := coalesce(head_position, 0);
  next_position := head_position + 1;
  now_recorded := greatest(clock_timestamp(), head_recorded);

  FOR event IN
    SELECT e.ordinal::integer, e.job, e.type, e.expected_version, e.occurred_at, e.data, coalesce(e.metadata, '{}') AS metadata,
           -- Without a number an event is a request of its own; theirs are beyond those of integers.
           coalesce(e.request, 4294967296 + e.ordinal) AS request,
           dense_rank() OVER (ORDER BY e.job COLLATE "C")::integer AS stream,
           dense_rank() OVER (ORDER BY e.id)::integer AS id_number,
           head.version AS head_version, head.total AS head_total, head.type IN ('finished', 'failed') AS head_ended,
           earlier.position AS earlier_position, earlier.version AS earlier_version,
           earlier.position IS NOT NULL
             AND earlier.category = 'job' AND earlier.stream_id = e.job AND earlier.type = e.type
             AND earlier.occurred_at IS NOT DISTINCT FROM e.occurred_at
             -- What is in the log is no larger; what is larger is not worth parsing here.
             AND octet_length(e.data) <= largest_compare
             AND is_same_content(earlier.data::text, e.data, earlier.metadata::text, coalesce(e.metadata, '{}')) AS is_earlier
      FROM unnest(jobs, types, data, metadata, occurred_ats, expected_versions, ids, requests)
             WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, id, request, ordinal)
      -- One probe of an index each, whatever the statistics say.
      LEFT JOIN LATERAL (SELECT * FROM events WHERE events.event_id = e.id OFFSET 0) AS earlier ON true
      LEFT JOIN LATERAL (
        SELECT events.version, events.type, events.total FROM events
         WHERE events.category = 'job' AND events.stream_id = e.job ORDER BY events.version DESC LIMIT 1) AS head ON true
     WHERE e.ordinal <= batch
     ORDER BY e.ordinal
  LOOP
    IF stream_versions[event.stream] IS NULL THEN
      stream_versions[event.stream] := coalesce(event.head_version, 0);
      stream_totals[event.stream] := coalesce(event.head_total, 0);
      stream_ended[event.stream] := coalesce(event.head_ended, false);
    END IF;
    IF request IS DISTINCT FROM event.request THEN
      request := event.request;
      request_start := event.ordinal;
      request_stream := event.stream;
      request_refused := false;
      before_position := next_position;
      before_version := stream_versions[event.stream];
      before_total := stream_totals[event.stream];
      before_ended := stream_ended[event.stream];
    END IF;
    CONTINUE WHEN request_refused;
    id_numbers[event.ordinal] := event.id_number;
    refusal := null;
    reason := null;

    -- A retry comes first: it is never refused for what has happened since.
    other := accepted_as[event.id_number];
    IF event.stream <> request_stream THEN
      refusal := 'invalid_event';
      reason := 'the events of one request belong to one job: this one is of another';
    ELSIF event.earlier_position IS NOT NULL THEN
      IF event.is_earlier THEN
        positions[event.ordinal] := event.earlier_position;
        versions[event.ordinal] := event.earlier_version;
        duplicates[event.ordinal] := true;
        CONTINUE;
      END IF;
      refusal := 'event_id_conflict';
      SELECT format('event id %s is at position %s already, with other %s: a retry sends the same event again, and a new event has an id of its own',
                    ids[event.ordinal], event.earlier_position,
                    differing_parts(e.stream_id, event.job, e.type, event.type, e.data::text, event.data, e.metadata::text, event.metadata,
                                    e.occurred_at, event.occurred_at))
        INTO reason FROM events AS e WHERE e.position = event.earlier_position;
    ELSIF other IS NOT NULL THEN
      IF jobs[other] = event.job AND types[other] = event.type AND occurred_ats[other] IS NOT DISTINCT FROM event.occurred_at
        AND is_same_content(data[other], event.data, coalesce(metadata[other], '{}'), event.metadata)
      THEN
        positions[event.ordinal] := positions[other];
        versions[event.ordinal] := versions[other];
        duplicates[event.ordinal] := true;
        CONTINUE;
      END IF;
      refusal := 'event_id_conflict';
      reason := format('event id %s stands in this call already, with other %s: each event has an id of its own', ids[event.ordinal],
                       differing_parts(jobs[other], event.job, types[other], event.type, data[other], event.data,
                                       coalesce(metadata[other], '{}'), event.metadata, occurred_ats[other], event.occurred_at));

    ELSIF codes[event.ordinal] IS NOT NULL THEN
      refusal := codes[event.ordinal];
      reason := messages[event.ordinal];
    ELSIF event.type = 'queued' AND stream_versions[event.stream] > 0 THEN
      refusal := 'already_queued';
      reason := format('job %s is queued already: another job needs another id', to_json(event.job));
    ELSIF event.type <> 'queued' AND stream_versions[event.stream] = 0 THEN
      refusal := 'unknown_job';
      reason := format('job %s has no events; the first must be queued', to_json(event.job));
    ELSIF stream_ended[event.stream] THEN
      refusal := 'already_ended';
      reason := format('job %s has ended; nothing follows an end: what goes on is another job', to_json(event.job));
    ELSIF event.ordinal = request_start AND event.expected_version <> stream_versions[event.stream] THEN
      refusal := 'version_conflict';
      reason := format('job %s is at version %s, not at %s: somebody else has appended meanwhile; read its events, and decide anew', to_json(event.job), stream_versions[event.stream], event.expected_version);
    ELSIF completeds[event.ordinal] > coalesce(totals[event.ordinal], stream_totals[event.stream])
      AND coalesce(totals[event.ordinal], stream_totals[event.stream]) > 0
    THEN
      refusal := 'invalid_event';
      reason := format('%s of %s runs cannot be completed: send the new "total" with the progress if there are more', completeds[event.ordinal], coalesce(totals[event.ordinal], stream_totals[event.stream]));
    END IF;

    IF refusal IS NULL THEN
      stream_versions[event.stream] := stream_versions[event.stream] + 1;
      stream_totals[event.stream] := coalesce(totals[event.ordinal], stream_totals[event.stream]);
      stream_ended[event.stream] := event.type IN ('finished', 'failed');
      positions[event.ordinal] := next_position;
      versions[event.ordinal] := stream_versions[event.stream];
      totals[event.ordinal] := stream_totals[event.stream];
      accepted[event.ordinal] := true;
      accepted_as[event.id_number] := event.ordinal;
      next_position := next_position + 1;
    ELSE
      -- The whole request is refused: what it did so far is undone.
      request_refused := true;
      next_position := before_position;
      stream_versions[request_stream] := before_version;
      stream_totals[request_stream] := before_total;
      stream_ended[request_stream] := before_ended;
      FOR undone IN request_start .. batch LOOP
        EXIT WHEN coalesce(requests[undone], 4294967296 + undone) <> request;
        IF undone < event.ordinal THEN
          reason := CASE WHEN undone = request_start THEN format('event %s of this request: %s', event.ordinal - request_start + 1, reason) ELSE reason END;
        END IF;
        codes[undone] := refusal;
        messages[undone] := reason;
        positions[undone] := null;
        versions[undone] := null;
        duplicates[undone] := false;
        accepted[undone] := false;
      END LOOP;
      -- Ids of what was undone are free again.
      FOR undone IN request_start .. event.ordinal - 1 LOOP
        IF accepted_as[id_numbers[undone]] = undone THEN
          accepted_as[id_numbers[undone]] := null;
        END IF;
      END LOOP;
    END IF;
  END LOOP;

  IF next_position > head_position + 1 THEN
    PERFORM set_config('jobledger.appending', 'on', true);
    INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
    SELECT e.position, e.id, e.job, e.version, e.type, e.data::json, coalesce(e.metadata, '{}')::json, e.occurred_at, now_recorded, e.total, e.completed
      FROM unnest(positions, ids, jobs, versions, types, data, metadata, occurred_ats, totals, completeds, accepted)
             AS e (position, id, job, version, type, data, metadata, occurred_at, total, completed, accepted)
     WHERE e.accepted;
    PERFORM set_config('jobledger.appending', 'off', true);
  END IF;

  RETURN QUERY
    SELECT e.ordinal::integer, e.position, e.version, e.id, e.duplicate,
           CASE WHEN e.position IS NULL THEN e.code END, CASE WHEN e.position IS NULL THEN e.message END
      FROM unnest(positions, versions, ids, duplicates, codes, messages)
             WITH ORDINALITY AS e (position, version, id, duplicate, code, message, ordinal)
     ORDER BY e.ordinal;
END
$$;

REVOKE ALL ON FUNCTION shown(jsonb), problem_with_text(text, jsonb, integer), problem_with_count(text, jsonb), problem_with_variables(jsonb),
                       differing_parts(text, text, text, text, text, text, text, text, timestamptz, timestamptz) FROM PUBLIC;
SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The text as jsonb, or why jsonb cannot hold it: \u0000, lone surrogates, numbers out of range, broken syntax.
CREATE OR REPLACE FUNCTION parse_json(source text, OUT value jsonb, OUT problem text)
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

-- What is wrong with a list of runs, null where nothing is.
CREATE OR REPLACE FUNCTION problem_with_runs(runs jsonb, index_required boolean) RETURNS text
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

-- What is wrong with the data of a job's event, null where nothing is. An explicit null counts as absent.
--   total      the total that the event sets, if it sets one
--   completed  how many runs the event says are done
CREATE OR REPLACE FUNCTION check_job_data(type text, data jsonb, OUT problem text, OUT total integer, OUT completed integer)
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
CREATE OR REPLACE FUNCTION check_event(
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

-- Decides event by event, in order: any batch whatever, one whose events are refused, repeated, or new. The log is locked.
CREATE OR REPLACE FUNCTION append_each(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], ids uuid[], occurred_ats timestamptz[],
  requests integer[], codes text[], messages text[], totals integer[], completeds integer[]
) RETURNS SETOF append_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch           CONSTANT integer := cardinality(jobs);
  largest_compare CONSTANT integer := 8 * 1024 * 1024;

  -- By ordinal: what the event is answered.
  positions       bigint[]  := array_fill(null::bigint, ARRAY[batch]);
  versions        integer[] := array_fill(null::integer, ARRAY[batch]);
  duplicates      boolean[] := array_fill(false, ARRAY[batch]);
  accepted        boolean[] := array_fill(false, ARRAY[batch]);

  -- By job, numbered within the call: where its stream stands.
  stream_versions integer[] := array_fill(null::integer, ARRAY[batch]);
  stream_totals   integer[] := array_fill(null::integer, ARRAY[batch]);
  stream_ended    boolean[] := array_fill(null::boolean, ARRAY[batch]);
  -- By event id, numbered within the call: the ordinal that was accepted under it; and each ordinal's number.
  accepted_as     integer[] := array_fill(null::integer, ARRAY[batch]);
  id_numbers      integer[] := array_fill(null::integer, ARRAY[batch]);

  head_position   bigint;
  head_recorded   timestamptz;
  now_recorded    timestamptz;
  next_position   bigint;

  event           record;
  request         bigint := null;
  request_start   integer;
  request_stream  integer;
  request_refused boolean;
  before_position bigint;
  before_version  integer;
  before_total    integer;
  before_ended    boolean;
  other           integer;
  refusal         text;
  reason          text;
BEGIN
  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  -- A batch that looked plain comes without codes.
  codes := coalesce(codes, array_fill(null::text, ARRAY[batch]));
  messages := coalesce(messages, array_fill(null::text, ARRAY[batch]));
  head_position := coalesce(head_position, 0);
  next_position := head_position + 1;
  now_recorded := greatest(clock_timestamp(), head_recorded);

  FOR event IN
    SELECT e.ordinal::integer, e.job, e.type, e.expected_version, e.occurred_at, e.data, coalesce(e.metadata, '{}') AS metadata,
           -- Without a number an event is a request of its own; theirs are beyond those of integers.
           coalesce(e.request, 4294967296 + e.ordinal) AS request,
           dense_rank() OVER (ORDER BY e.job COLLATE "C")::integer AS stream,
           dense_rank() OVER (ORDER BY e.id)::integer AS id_number,
           head.version AS head_version, head.total AS head_total, head.type IN ('finished', 'failed') AS head_ended,
           earlier.position AS earlier_position, earlier.version AS earlier_version,
           earlier.position IS NOT NULL
             AND earlier.category = 'job' AND earlier.stream_id = e.job AND earlier.type = e.type
             AND earlier.occurred_at IS NOT DISTINCT FROM e.occurred_at
             -- What is in the log is no larger; what is larger is not worth parsing here.
             AND octet_length(e.data) <= largest_compare
             AND is_same_content(earlier.data::text, e.data, earlier.metadata::text, coalesce(e.metadata, '{}')) AS is_earlier
      FROM unnest(jobs, types, data, metadata, occurred_ats, expected_versions, ids, requests)
             WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, id, request, ordinal)
      -- One probe of an index each, whatever the statistics say.
      LEFT JOIN LATERAL (SELECT * FROM events WHERE events.event_id = e.id OFFSET 0) AS earlier ON true
      LEFT JOIN LATERAL (
        SELECT events.version, events.type, events.total FROM events
         WHERE events.category = 'job' AND events.stream_id = e.job ORDER BY events.version DESC LIMIT 1) AS head ON true
     WHERE e.ordinal <= batch
     ORDER BY e.ordinal
  LOOP
    IF stream_versions[event.stream] IS NULL THEN
      stream_versions[event.stream] := coalesce(event.head_version, 0);
      stream_totals[event.stream] := coalesce(event.head_total, 0);
      stream_ended[event.stream] := coalesce(event.head_ended, false);
    END IF;
    IF request IS DISTINCT FROM event.request THEN
      request := event.request;
      request_start := event.ordinal;
      request_stream := event.stream;
      request_refused := false;
      before_position := next_position;
      before_version := stream_versions[event.stream];
      before_total := stream_totals[event.stream];
      before_ended := stream_ended[event.stream];
    END IF;
    CONTINUE WHEN request_refused;
    id_numbers[event.ordinal] := event.id_number;
    refusal := null;
    reason := null;

    -- A retry comes first: it is never refused for what has happened since.
    other := accepted_as[event.id_number];
    IF event.stream <> request_stream THEN
      refusal := 'invalid_event';
      reason := 'the events of one request belong to one job';
    ELSIF event.earlier_position IS NOT NULL THEN
      IF event.is_earlier THEN
        positions[event.ordinal] := event.earlier_position;
        versions[event.ordinal] := event.earlier_version;
        duplicates[event.ordinal] := true;
        CONTINUE;
      END IF;
      refusal := 'event_id_conflict';
      reason := format('event id %s is at position %s already, with other content', ids[event.ordinal], event.earlier_position);
    ELSIF other IS NOT NULL THEN
      IF jobs[other] = event.job AND types[other] = event.type AND occurred_ats[other] IS NOT DISTINCT FROM event.occurred_at
        AND is_same_content(data[other], event.data, coalesce(metadata[other], '{}'), event.metadata)
      THEN
        positions[event.ordinal] := positions[other];
        versions[event.ordinal] := versions[other];
        duplicates[event.ordinal] := true;
        CONTINUE;
      END IF;
      refusal := 'event_id_conflict';
      reason := format('event id %s stands in this call already, with other content', ids[event.ordinal]);

    ELSIF codes[event.ordinal] IS NOT NULL THEN
      refusal := codes[event.ordinal];
      reason := messages[event.ordinal];
    ELSIF event.type = 'queued' AND stream_versions[event.stream] > 0 THEN
      refusal := 'already_queued';
      reason := format('job %s is queued already', to_json(event.job));
    ELSIF event.type <> 'queued' AND stream_versions[event.stream] = 0 THEN
      refusal := 'unknown_job';
      reason := format('job %s has no events; the first must be queued', to_json(event.job));
    ELSIF stream_ended[event.stream] THEN
      refusal := 'already_ended';
      reason := format('job %s has ended; nothing follows an end', to_json(event.job));
    ELSIF event.ordinal = request_start AND event.expected_version <> stream_versions[event.stream] THEN
      refusal := 'version_conflict';
      reason := format('job %s is at version %s, not at %s', to_json(event.job), stream_versions[event.stream], event.expected_version);
    ELSIF completeds[event.ordinal] > coalesce(totals[event.ordinal], stream_totals[event.stream])
      AND coalesce(totals[event.ordinal], stream_totals[event.stream]) > 0
    THEN
      refusal := 'invalid_event';
      reason := format('%s of %s runs cannot be completed', completeds[event.ordinal], coalesce(totals[event.ordinal], stream_totals[event.stream]));
    END IF;

    IF refusal IS NULL THEN
      stream_versions[event.stream] := stream_versions[event.stream] + 1;
      stream_totals[event.stream] := coalesce(totals[event.ordinal], stream_totals[event.stream]);
      stream_ended[event.stream] := event.type IN ('finished', 'failed');
      positions[event.ordinal] := next_position;
      versions[event.ordinal] := stream_versions[event.stream];
      totals[event.ordinal] := stream_totals[event.stream];
      accepted[event.ordinal] := true;
      accepted_as[event.id_number] := event.ordinal;
      next_position := next_position + 1;
    ELSE
      -- The whole request is refused: what it did so far is undone.
      request_refused := true;
      next_position := before_position;
      stream_versions[request_stream] := before_version;
      stream_totals[request_stream] := before_total;
      stream_ended[request_stream] := before_ended;
      FOR undone IN request_start .. batch LOOP
        EXIT WHEN coalesce(requests[undone], 4294967296 + undone) <> request;
        IF undone < event.ordinal THEN
          reason := CASE WHEN undone = request_start THEN format('event %s of this request: %s', event.ordinal - request_start + 1, reason) ELSE reason END;
        END IF;
        codes[undone] := refusal;
        messages[undone] := reason;
        positions[undone] := null;
        versions[undone] := null;
        duplicates[undone] := false;
        accepted[undone] := false;
      END LOOP;
      -- Ids of what was undone are free again.
      FOR undone IN request_start .. event.ordinal - 1 LOOP
        IF accepted_as[id_numbers[undone]] = undone THEN
          accepted_as[id_numbers[undone]] := null;
        END IF;
      END LOOP;
    END IF;
  END LOOP;

  IF next_position > head_position + 1 THEN
    PERFORM set_config('jobledger.appending', 'on', true);
    INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
    SELECT e.position, e.id, e.job, e.version, e.type, e.data::json, coalesce(e.metadata, '{}')::json, e.occurred_at, now_recorded, e.total, e.completed
      FROM unnest(positions, ids, jobs, versions, types, data, metadata, occurred_ats, totals, completeds, accepted)
             AS e (position, id, job, version, type, data, metadata, occurred_at, total, completed, accepted)
     WHERE e.accepted;
    PERFORM set_config('jobledger.appending', 'off', true);
  END IF;

  RETURN QUERY
    SELECT e.ordinal::integer, e.position, e.version, e.id, e.duplicate,
           CASE WHEN e.position IS NULL THEN e.code END, CASE WHEN e.position IS NULL THEN e.message END
      FROM unnest(positions, versions, ids, duplicates, codes, messages)
             WITH ORDINALITY AS e (position, version, id, duplicate, code, message, ordinal)
     ORDER BY e.ordinal;
END
$$;

DROP FUNCTION differing_parts(text, text, text, text, text, text, text, text, timestamptz, timestamptz);
DROP FUNCTION problem_with_variables(jsonb);
DROP FUNCTION problem_with_count(text, jsonb);
DROP FUNCTION problem_with_text(text, jsonb, integer);
DROP FUNCTION shown(jsonb);
