-- The life of a job: which event may follow which. And retries: which event is the same as another
-- under its id. Both are checked while the log is locked.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

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
CREATE FUNCTION explain_refusal(
  job text, type text, expected_version integer, completed integer, total integer, last_version integer, last_type text,
  OUT code text, OUT message text)
LANGUAGE plpgsql IMMUTABLE AS $$
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
LANGUAGE plpgsql IMMUTABLE SET search_path FROM CURRENT AS $$
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

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION
  differing_parts(text, text, text, text, text, text, text, text, timestamptz, timestamptz),
  is_same_json(text, text, text[]), bytes_to_compare(text, text),
  explain_refusal(text, text, integer, integer, integer, integer, text),
  may_append(text, integer, integer, integer, integer, text), exceeds_total(integer, integer),
  lifecycle_refusal(text, text), ends_job(text);
