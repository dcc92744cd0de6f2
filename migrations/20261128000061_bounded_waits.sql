-- What one caller can make others wait for has a bound, and what stands in a row is taken for no more than it says.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- How many bytes differing_parts() parses for two texts.
CREATE FUNCTION bytes_to_compare(a text, b text) RETURNS bigint
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN octet_length(a) = octet_length(b) AND a = b THEN 0 ELSE octet_length(a)::bigint + octet_length(b) END;

-- Whether a text that was accepted before and another hold the same JSON, members that say where a request went aside. What is larger than anything in the log
-- is not worth parsing.
CREATE FUNCTION is_same_json(accepted text, given text, aside text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path FROM CURRENT AS $$
DECLARE
  parsed CONSTANT jsonb := CASE WHEN octet_length(given) <= 8388608 THEN (parse_json(given)).value END;
BEGIN
  -- What was accepted is an object.
  RETURN (jsonb_typeof(parsed) = 'object') IS TRUE AND accepted::jsonb - aside = parsed - aside;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  RETURN false;  -- accepted by other rules than today's
END
$$;

-- Which parts of two events that have one id are not the same; an empty text where they are one.
CREATE OR REPLACE FUNCTION differing_parts(
  a_job text, b_job text, a_type text, b_type text, a_data text, b_data text, a_metadata text, b_metadata text, a_moment timestamptz,
  b_moment timestamptz
) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN concat_ws(', ',
  CASE WHEN a_job <> b_job THEN 'job' END,
  CASE WHEN a_type <> b_type THEN 'type' END,
  CASE WHEN bytes_to_compare(a_data, b_data) > 0 AND NOT is_same_json(a_data, b_data, '{}') THEN 'data' END,
  CASE WHEN bytes_to_compare(a_metadata, b_metadata) > 0 AND NOT is_same_json(a_metadata, b_metadata, '{traceparent,tracestate}') THEN 'metadata' END,
  CASE WHEN a_moment IS DISTINCT FROM b_moment THEN 'occurred_at' END);

-- Decides event by event, in order: any batch whatever, one whose events are refused, repeated, or new. The log is locked.
CREATE OR REPLACE FUNCTION append_each(
  jobs text[], types text[], data text[], metadata text[], expected_versions integer[], ids uuid[], occurred_ats timestamptz[],
  requests integer[], codes text[], messages text[], totals integer[], completeds integer[]
) RETURNS SETOF append_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch           CONSTANT integer := cardinality(jobs);
  most_compared   CONSTANT bigint  := 64 * 1024 * 1024;
  compared        bigint := 0;  -- bytes that had to be parsed, to tell a retry from another event under its id

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
  parts           text;
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
           earlier.position AS earlier_position, earlier.version AS earlier_version
      FROM unnest(jobs, types, data, metadata, occurred_ats, expected_versions, ids, requests)
             WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, id, request, ordinal)
      -- One probe of an index each, whatever the statistics say.
      LEFT JOIN LATERAL (SELECT events.position, events.version FROM events WHERE events.event_id = e.id OFFSET 0) AS earlier ON true
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
      SELECT concat_ws(', ', CASE WHEN e.category <> 'job' THEN 'category' END,
                       nullif(differing_parts(e.stream_id, event.job, e.type, event.type, e.data::text, event.data, e.metadata::text, event.metadata,
                                              e.occurred_at, event.occurred_at), '')),
             compared + bytes_to_compare(e.data::text, event.data) + bytes_to_compare(e.metadata::text, event.metadata)
        INTO parts, compared
        FROM events AS e WHERE e.position = event.earlier_position;
      IF parts = '' THEN
        positions[event.ordinal] := event.earlier_position;
        versions[event.ordinal] := event.earlier_version;
        duplicates[event.ordinal] := true;
      ELSE
        refusal := 'event_id_conflict';
        reason := format('event id %s is at position %s already, with other %s: a retry sends the same event again, and a new event has an id of its own',
                         ids[event.ordinal], event.earlier_position, parts);
      END IF;
    ELSIF other IS NOT NULL THEN
      parts := differing_parts(jobs[other], event.job, types[other], event.type, data[other], event.data,
                               coalesce(metadata[other], '{}'), event.metadata, occurred_ats[other], event.occurred_at);
      compared := compared + bytes_to_compare(data[other], event.data) + bytes_to_compare(coalesce(metadata[other], '{}'), event.metadata);
      IF parts = '' THEN
        positions[event.ordinal] := positions[other];
        versions[event.ordinal] := versions[other];
        duplicates[event.ordinal] := true;
      ELSE
        refusal := 'event_id_conflict';
        reason := format('event id %s stands in this call already, with other %s: each event has an id of its own', ids[event.ordinal], parts);
      END IF;

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

    IF compared > most_compared THEN
      RAISE EXCEPTION 'this call repeats event ids with other content, and to compare it takes more than % MiB', most_compared >> 20
        USING ERRCODE = 'program_limit_exceeded', HINT = 'Nothing was written. Send fewer of these events in a call: each has an id of its own, or is a retry and the same again.';
    END IF;
    CONTINUE WHEN duplicates[event.ordinal];
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

CREATE OR REPLACE FUNCTION end_turn(appender text, turn bigint) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT SET lock_timeout = '10s'
BEGIN ATOMIC
  INSERT INTO checkpoints AS c (reader, position) VALUES ('append ' || appender, turn)
  ON CONFLICT (reader) DO UPDATE SET position = greatest(c.position, excluded.position), updated_at = clock_timestamp();
END;

CREATE OR REPLACE FUNCTION append_batch(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[]        DEFAULT null,
  expected_versions integer[]     DEFAULT null,
  event_ids         uuid[]        DEFAULT null,
  occurred_ats      timestamptz[] DEFAULT null,
  requests          integer[]     DEFAULT null,
  appender          text          DEFAULT null,
  turn              bigint        DEFAULT null
) RETURNS batch_answer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
  batch         CONSTANT integer := cardinality(jobs);
  longest_batch CONSTANT integer := 10000;
  checked       checked_batch;
  codes         text[];
  messages      text[];
  head_versions integer[];  -- by number of the job
  head_totals   integer[];
  head_position bigint;
  head_recorded timestamptz;
  answer        batch_answer;
BEGIN
  IF batch IS NULL OR batch = 0 THEN
    IF turn IS NOT NULL THEN
      PERFORM await_turn(appender, turn);
      PERFORM end_turn(appender, turn);
    END IF;
    RETURN null;
  ELSIF batch > longest_batch THEN
    RAISE EXCEPTION 'a call takes % events at most, not %', longest_batch, batch USING ERRCODE = 'program_limit_exceeded';
  ELSIF cardinality(types) IS DISTINCT FROM batch OR cardinality(data) IS DISTINCT FROM batch THEN
    RAISE EXCEPTION 'jobs, types and data must have the same length' USING ERRCODE = 'array_subscript_error';
  ELSIF concat(array_ndims(jobs), array_ndims(types), array_ndims(data), array_ndims(metadata), array_ndims(expected_versions),
               array_ndims(event_ids), array_ndims(occurred_ats), array_ndims(requests),
               array_lower(jobs, 1), array_lower(types, 1), array_lower(data, 1), array_lower(metadata, 1),
               array_lower(expected_versions, 1), array_lower(event_ids, 1), array_lower(occurred_ats, 1), array_lower(requests, 1)) ~ '[^1]'
  THEN
    RAISE EXCEPTION 'every array must have one dimension, and begin at 1' USING ERRCODE = 'array_subscript_error';
  END IF;

  IF batch = 1 AND turn IS NULL THEN
    RETURN append_single(jobs[1], types[1], data[1], metadata[1], expected_versions[1], event_ids[1], occurred_ats[1]);
  END IF;

  -- What can be done before the log is locked.
  checked := check_batch(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, requests);
  IF NOT checked.is_plain THEN
    SELECT array_agg(coalesce(e.id, uuid_v7()) ORDER BY e.ordinal),
           array_agg(finding.code ORDER BY e.ordinal),
           array_agg(finding.message ORDER BY e.ordinal),
           array_agg(finding.total ORDER BY e.ordinal),
           array_agg(finding.completed ORDER BY e.ordinal)
      INTO checked.ids, codes, messages, checked.new_totals, checked.completeds
      FROM unnest(jobs, types, data, metadata, occurred_ats, expected_versions, event_ids)
             WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, id, ordinal),
           LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, '{}'), e.occurred_at, e.expected_version) AS finding
     WHERE e.ordinal <= batch;
  END IF;

  IF turn IS NOT NULL THEN
    -- Before the log is locked: whoever has to wait for the row keeps nobody. It counts once this is committed.
    PERFORM await_turn(appender, turn);
    PERFORM end_turn(appender, turn);
  END IF;
  PERFORM begin_numbering();

  IF checked.is_plain THEN
    -- One probe for each job: is it where its events take it to be? And one for each event id.
    SELECT bool_and(CASE WHEN s.opens THEN head.version IS NULL ELSE head.version IS NOT NULL AND NOT head.has_ended END
             AND (s.expected <> coalesce(head.version, 0)) IS NOT TRUE
             AND (s.completed > head.total AND head.total > 0) IS NOT TRUE),
           array_agg(coalesce(head.version, 0) ORDER BY s.stream),
           array_agg(coalesce(head.total, 0) ORDER BY s.stream)
      INTO checked.is_plain, head_versions, head_totals
      FROM unnest(checked.stream_jobs, checked.stream_opens, checked.stream_expected, checked.stream_completeds)
             WITH ORDINALITY AS s (job, opens, expected, completed, stream)
      LEFT JOIN LATERAL (
        SELECT e.version, e.total, e.type IN ('finished', 'failed') AS has_ended FROM events AS e
         WHERE e.stream_id = s.job AND e.category IS NOT DISTINCT FROM 'job' ORDER BY e.version DESC LIMIT 1) AS head ON true;
    checked.is_plain := checked.is_plain AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = ANY (checked.ids));
  END IF;

  IF NOT checked.is_plain THEN
    SELECT array_agg(each) INTO answer.answers
      FROM append_each(jobs, types, data, metadata, expected_versions, checked.ids, occurred_ats, requests,
                       codes, messages, checked.new_totals, checked.completeds) AS each;
    RETURN answer;
  END IF;

  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  head_position := coalesce(head_position, 0);
  head_recorded := greatest(clock_timestamp(), head_recorded);
  SELECT array_agg(head_versions[e.stream] + e.place), array_agg(coalesce(e.total, head_totals[e.stream]))
    INTO answer.versions, checked.totals
    FROM unnest(checked.streams, checked.places, checked.totals) AS e (stream, place, total);
  INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  SELECT head_position + e.ordinal, e.id, e.job, e.version, e.type, e.document, coalesce(e.context, '{}'), e.occurred_at, head_recorded,
         e.total, e.completed
    FROM unnest(jobs, types, checked.documents, checked.contexts, occurred_ats, checked.ids, answer.versions, checked.totals, checked.completeds)
           WITH ORDINALITY AS e (job, type, document, context, occurred_at, id, version, total, completed, ordinal);
  answer.first_position := head_position + 1;
  answer.event_ids := checked.ids;
  RETURN answer;
END
$$;

-- Refusals.
CREATE OR REPLACE FUNCTION note_refusals(
  firsts_ago bigint[], lasts_ago bigint[], counts bigint[], tokens text[], peers text[], methods text[], paths text[], actors text[],
  jobs text[], types text[], event_ids uuid[], codes text[], details text[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '10s' AS $$
DECLARE
  now   CONSTANT timestamptz := clock_timestamp();
  -- In milliseconds.
  hour  CONSTANT bigint := 3600000;
  -- The longest of all: unnest fills up the others.
  count CONSTANT integer := (SELECT max(coalesce(cardinality(a), 0))
                               FROM (VALUES (firsts_ago::text[]), (lasts_ago::text[]), (counts::text[]), (tokens), (peers), (methods), (paths), (actors),
                                            (jobs), (types), (event_ids::text[]), (codes), (details)) AS given (a));
BEGIN
  IF count > 2000 THEN
    RAISE EXCEPTION '% refusals at once: at most 2000 are noted by one call', count
      USING ERRCODE = 'program_limit_exceeded', HINT = 'Note them by several calls.';
  END IF;
  -- The counts of the day are locked to the end of the transaction: nobody dawdles with them.
  IF current_setting('idle_in_transaction_session_timeout')::interval NOT BETWEEN '1 ms' AND '5 s' THEN
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
  END IF;
  INSERT INTO refusals (first_at, last_at, times, token, peer, method, path, actor, job, type, event_id, code, detail)
  SELECT now - greatest(last, least(greatest(r.first_ago, 0), hour)) * interval '1 ms', now - last * interval '1 ms',
         least(r.times, 1000000000), left(r.token, 100), left(r.peer, 100), left(r.method, 100), left(r.path, 300), left(r.actor, 300),
         left(r.job, 300), left(r.type, 300), r.event_id, r.code, left(r.detail, 300)
    FROM unnest(firsts_ago, lasts_ago, counts, tokens, peers, methods, paths, actors, jobs, types, event_ids, codes, details)
         WITH ORDINALITY AS r (first_ago, last_ago, times, token, peer, method, path, actor, job, type, event_id, code, detail, place)
    CROSS JOIN LATERAL (SELECT least(greatest(r.last_ago, 0), hour) AS last) AS bounded
   ORDER BY r.place;
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'another transaction has kept the refusals of today locked for 10 s'
    USING ERRCODE = 'lock_not_available', HINT = 'These refusals were not written. Find it: SELECT * FROM pg_locks WHERE relation = ''refusal_days''::regclass.';
END
$$;

CREATE OR REPLACE FUNCTION bound_refusals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  today      CONSTANT date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
  is_known   CONSTANT boolean := NEW.code <> 'unauthorized' AND EXISTS (SELECT FROM tokens WHERE id = NEW.token);
  limits     refusal_limits;
  own        text;
  own_most   bigint;
  has_room   boolean;
BEGIN
  SELECT * INTO STRICT limits FROM refusal_limits;
  own := CASE WHEN is_known THEN 'token ' || NEW.token ELSE refusal_address(NEW.peer) END;
  own_most := CASE WHEN is_known THEN limits.rows_of_token ELSE limits.rows_of_address END;
  -- The row of all comes first always: so writers wait for each other, and never in a circle.
  INSERT INTO refusal_days AS d (day, source) VALUES (today, '') ON CONFLICT (day, source) DO UPDATE SET rows = d.rows;
  SELECT (is_known OR strangers.rows < limits.rows_of_strangers) AND coalesce(mine.rows, 0) < own_most
    INTO has_room
    FROM refusal_days AS strangers
    LEFT JOIN refusal_days AS mine ON mine.day = today AND mine.source = own
   WHERE strangers.day = today AND strangers.source = '';
  IF has_room THEN
    INSERT INTO refusal_days AS d (day, source, rows) VALUES (today, own, 1)
      ON CONFLICT (day, source) DO UPDATE SET rows = d.rows + 1;
    UPDATE refusal_days SET rows = rows + 1 WHERE day = today AND source = '' AND NOT is_known;
    RETURN NEW;
  END IF;
  -- Whoever has no row of his own gets none by being left out, or a flood from many addresses would fill this table instead.
  UPDATE refusal_days SET left_out = left_out + greatest(NEW.times, 0) WHERE day = today AND source = own;
  IF NOT is_known OR NOT FOUND THEN
    UPDATE refusal_days SET left_out = left_out + greatest(NEW.times, 0) WHERE day = today AND source = '';
  END IF;
  RETURN NULL;
END
$$;

-- The rights of this ledger's roles, and what belongs to them, as the catalogs have it.
CREATE OR REPLACE FUNCTION rights_in_force() RETURNS SETOF rights
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  WITH home AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = current_schema()),
  own AS (SELECT r.oid, r.rolname::text AS name
            FROM pg_roles AS r, home
           -- By name: other ledgers, and users, have names that begin like this one's.
           WHERE r.rolname::text IN (SELECT home.nspname::text || '_' || part FROM pg_catalog.unnest(
                   '{owner,appender,reader,subscriber,relay,projector,sealer,auditor}'::text[]) AS part)),
  thing AS (
    SELECT 'SCHEMA ' || quote_ident(nspname::text) AS object, nspowner AS owner, nspacl AS acl, null::name AS attribute FROM home
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, c.relacl, null FROM pg_class AS c, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, a.attacl, a.attname
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v') AND a.attacl IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION ' || p.oid::regprocedure::text, p.proowner, p.proacl, null FROM pg_proc AS p, home WHERE p.pronamespace = home.oid
    UNION ALL
    -- Domains and composite types; the row types of tables go with their tables.
    SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || t.oid::regtype::text, t.typowner, null, null
      FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid, home
     WHERE t.typnamespace = home.oid AND (t.typtype = 'd' OR c.relkind = 'c')
  )
  SELECT DISTINCT thing.object, 'OWNER', own.name FROM thing JOIN own ON own.oid = thing.owner
  UNION ALL
  SELECT DISTINCT thing.object, a.privilege_type || coalesce(' (' || quote_ident(thing.attribute::text) || ')', ''), own.name
    FROM thing, aclexplode(thing.acl) AS a JOIN own ON own.oid = a.grantee WHERE a.grantee <> thing.owner
  UNION ALL
  SELECT DISTINCT 'ROLE ' || quote_ident(granted.name), 'MEMBER', own.name
    FROM pg_auth_members AS m JOIN own ON own.oid = m.member JOIN own AS granted ON granted.oid = m.roleid
  UNION ALL
  SELECT 'TABLE ' || quote_ident(p.tablename::text),
         pg_catalog.concat('POLICY ', quote_ident(p.policyname::text), ' ON ', quote_ident(p.tablename::text), ' AS ', p.permissive, ' FOR ', p.cmd, ' TO ',
                (SELECT string_agg(CASE r WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(r::text) END, ', ') FROM pg_catalog.unnest(p.roles) AS r),
                ' USING (' || p.qual || ')', ' WITH CHECK (' || p.with_check || ')'), ''
    FROM pg_policies AS p, home WHERE p.schemaname = home.nspname
$$;

ALTER TABLE receipts
  ADD CONSTRAINT receipts_durations CHECK (seconds BETWEEN 0 AND 1e9 AND blocked_ms BETWEEN 0 AND 1e12) NOT VALID;

-- A prepared transaction keeps its locks for as long as nobody thinks of it.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{refusals,refusal_days,receipts,skipped_events,drift_checks,rebuilds,rebuild_slices,replaced_tables,read_models,seal_tiles,seal_checkpoints,tokens}'::text[] LOOP
    EXECUTE format(
      'CREATE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT
         WHEN (current_setting(''max_prepared_transactions'') <> ''0'') EXECUTE FUNCTION refuse_to_prepare_changes()',
      name || '_not_prepared', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', name, name || '_not_prepared');
  END LOOP;
  -- status and /readyz read it: nobody locks it whole.
  EXECUTE format('REVOKE UPDATE, DELETE ON projections FROM %I', current_schema() || '_projector');
  EXECUTE format('GRANT UPDATE (%s) ON projections TO %I',
                 (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = 'projections'::regclass AND attnum > 0 AND NOT attisdropped),
                 current_schema() || '_projector');
END
$$;

REVOKE ALL ON FUNCTION bytes_to_compare(text, text), is_same_json(text, text, text[]) FROM PUBLIC;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
DECLARE
  name text;
BEGIN
  EXECUTE format('GRANT UPDATE, DELETE ON projections TO %I', current_schema() || '_projector');
  FOREACH name IN ARRAY '{refusals,refusal_days,receipts,skipped_events,drift_checks,rebuilds,rebuild_slices,replaced_tables,read_models,seal_tiles,seal_checkpoints,tokens}'::text[] LOOP
    EXECUTE format('DROP TRIGGER %I ON %I', name || '_not_prepared', name);
  END LOOP;
END
$$;
ALTER TABLE receipts DROP CONSTRAINT receipts_durations;

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

CREATE OR REPLACE FUNCTION append_batch(
  jobs              text[],
  types             text[],
  data              text[],
  metadata          text[]        DEFAULT null,
  expected_versions integer[]     DEFAULT null,
  event_ids         uuid[]        DEFAULT null,
  occurred_ats      timestamptz[] DEFAULT null,
  requests          integer[]     DEFAULT null,
  appender          text          DEFAULT null,
  turn              bigint        DEFAULT null
) RETURNS batch_answer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET jobledger.appending = 'on'
SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
  batch         CONSTANT integer := cardinality(jobs);
  longest_batch CONSTANT integer := 10000;
  checked       checked_batch;
  codes         text[];
  messages      text[];
  head_versions integer[];  -- by number of the job
  head_totals   integer[];
  head_position bigint;
  head_recorded timestamptz;
  answer        batch_answer;
BEGIN
  IF batch IS NULL OR batch = 0 THEN
    IF turn IS NOT NULL THEN
      PERFORM await_turn(appender, turn);
      PERFORM end_turn(appender, turn);
    END IF;
    RETURN null;
  ELSIF batch > longest_batch THEN
    RAISE EXCEPTION 'a call takes % events at most, not %', longest_batch, batch USING ERRCODE = 'program_limit_exceeded';
  ELSIF cardinality(types) IS DISTINCT FROM batch OR cardinality(data) IS DISTINCT FROM batch THEN
    RAISE EXCEPTION 'jobs, types and data must have the same length' USING ERRCODE = 'array_subscript_error';
  ELSIF concat(array_ndims(jobs), array_ndims(types), array_ndims(data), array_ndims(metadata), array_ndims(expected_versions),
               array_ndims(event_ids), array_ndims(occurred_ats), array_ndims(requests),
               array_lower(jobs, 1), array_lower(types, 1), array_lower(data, 1), array_lower(metadata, 1),
               array_lower(expected_versions, 1), array_lower(event_ids, 1), array_lower(occurred_ats, 1), array_lower(requests, 1)) ~ '[^1]'
  THEN
    RAISE EXCEPTION 'every array must have one dimension, and begin at 1' USING ERRCODE = 'array_subscript_error';
  END IF;

  IF batch = 1 AND turn IS NULL THEN
    RETURN append_single(jobs[1], types[1], data[1], metadata[1], expected_versions[1], event_ids[1], occurred_ats[1]);
  END IF;

  -- What can be done before the log is locked.
  checked := check_batch(jobs, types, data, metadata, expected_versions, event_ids, occurred_ats, requests);
  IF NOT checked.is_plain THEN
    SELECT array_agg(coalesce(e.id, uuid_v7()) ORDER BY e.ordinal),
           array_agg(finding.code ORDER BY e.ordinal),
           array_agg(finding.message ORDER BY e.ordinal),
           array_agg(finding.total ORDER BY e.ordinal),
           array_agg(finding.completed ORDER BY e.ordinal)
      INTO checked.ids, codes, messages, checked.new_totals, checked.completeds
      FROM unnest(jobs, types, data, metadata, occurred_ats, expected_versions, event_ids)
             WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, id, ordinal),
           LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, '{}'), e.occurred_at, e.expected_version) AS finding
     WHERE e.ordinal <= batch;
  END IF;

  IF turn IS NOT NULL THEN
    PERFORM await_turn(appender, turn);
  END IF;
  PERFORM begin_numbering();
  IF turn IS NOT NULL THEN
    PERFORM end_turn(appender, turn);
  END IF;

  IF checked.is_plain THEN
    -- One probe for each job: is it where its events take it to be? And one for each event id.
    SELECT bool_and(CASE WHEN s.opens THEN head.version IS NULL ELSE head.version IS NOT NULL AND NOT head.has_ended END
             AND (s.expected <> coalesce(head.version, 0)) IS NOT TRUE
             AND (s.completed > head.total AND head.total > 0) IS NOT TRUE),
           array_agg(coalesce(head.version, 0) ORDER BY s.stream),
           array_agg(coalesce(head.total, 0) ORDER BY s.stream)
      INTO checked.is_plain, head_versions, head_totals
      FROM unnest(checked.stream_jobs, checked.stream_opens, checked.stream_expected, checked.stream_completeds)
             WITH ORDINALITY AS s (job, opens, expected, completed, stream)
      LEFT JOIN LATERAL (
        SELECT e.version, e.total, e.type IN ('finished', 'failed') AS has_ended FROM events AS e
         WHERE e.stream_id = s.job AND e.category IS NOT DISTINCT FROM 'job' ORDER BY e.version DESC LIMIT 1) AS head ON true;
    checked.is_plain := checked.is_plain AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = ANY (checked.ids));
  END IF;

  IF NOT checked.is_plain THEN
    SELECT array_agg(each) INTO answer.answers
      FROM append_each(jobs, types, data, metadata, expected_versions, checked.ids, occurred_ats, requests,
                       codes, messages, checked.new_totals, checked.completeds) AS each;
    RETURN answer;
  END IF;

  SELECT e.position, e.recorded_at INTO head_position, head_recorded FROM events AS e ORDER BY e.position DESC LIMIT 1;
  head_position := coalesce(head_position, 0);
  head_recorded := greatest(clock_timestamp(), head_recorded);
  SELECT array_agg(head_versions[e.stream] + e.place), array_agg(coalesce(e.total, head_totals[e.stream]))
    INTO answer.versions, checked.totals
    FROM unnest(checked.streams, checked.places, checked.totals) AS e (stream, place, total);
  INSERT INTO events (position, event_id, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed)
  SELECT head_position + e.ordinal, e.id, e.job, e.version, e.type, e.document, coalesce(e.context, '{}'), e.occurred_at, head_recorded,
         e.total, e.completed
    FROM unnest(jobs, types, checked.documents, checked.contexts, occurred_ats, checked.ids, answer.versions, checked.totals, checked.completeds)
           WITH ORDINALITY AS e (job, type, document, context, occurred_at, id, version, total, completed, ordinal);
  answer.first_position := head_position + 1;
  answer.event_ids := checked.ids;
  RETURN answer;
END
$$;

CREATE OR REPLACE FUNCTION note_refusals(
  firsts_ago bigint[], lasts_ago bigint[], counts bigint[], tokens text[], peers text[], methods text[], paths text[], actors text[],
  jobs text[], types text[], event_ids uuid[], codes text[], details text[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  now   CONSTANT timestamptz := clock_timestamp();
  -- In milliseconds.
  hour  CONSTANT bigint := 3600000;
  -- The longest of all: unnest fills up the others.
  count CONSTANT integer := (SELECT max(coalesce(cardinality(a), 0))
                               FROM (VALUES (firsts_ago::text[]), (lasts_ago::text[]), (counts::text[]), (tokens), (peers), (methods), (paths), (actors),
                                            (jobs), (types), (event_ids::text[]), (codes), (details)) AS given (a));
BEGIN
  IF count > 2000 THEN
    RAISE EXCEPTION '% refusals at once: at most 2000 are noted by one call', count
      USING ERRCODE = 'program_limit_exceeded', HINT = 'Note them by several calls.';
  END IF;
  INSERT INTO refusals (first_at, last_at, times, token, peer, method, path, actor, job, type, event_id, code, detail)
  SELECT now - greatest(last, least(greatest(r.first_ago, 0), hour)) * interval '1 ms', now - last * interval '1 ms',
         least(r.times, 1000000000), left(r.token, 100), left(r.peer, 100), left(r.method, 100), left(r.path, 300), left(r.actor, 300),
         left(r.job, 300), left(r.type, 300), r.event_id, r.code, left(r.detail, 300)
    FROM unnest(firsts_ago, lasts_ago, counts, tokens, peers, methods, paths, actors, jobs, types, event_ids, codes, details)
         WITH ORDINALITY AS r (first_ago, last_ago, times, token, peer, method, path, actor, job, type, event_id, code, detail, place)
    CROSS JOIN LATERAL (SELECT least(greatest(r.last_ago, 0), hour) AS last) AS bounded
   ORDER BY r.place;
END
$$;

CREATE OR REPLACE FUNCTION bound_refusals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  today      CONSTANT date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
  is_known   CONSTANT boolean := NEW.code <> 'unauthorized' AND EXISTS (SELECT FROM tokens WHERE id = NEW.token);
  limits     refusal_limits;
  own        text;
  own_most   bigint;
  has_room   boolean;
BEGIN
  SELECT * INTO STRICT limits FROM refusal_limits;
  own := CASE WHEN is_known THEN 'token ' || NEW.token ELSE refusal_address(NEW.peer) END;
  own_most := CASE WHEN is_known THEN limits.rows_of_token ELSE limits.rows_of_address END;
  -- The row of all comes first always: so writers wait for each other, and never in a circle.
  INSERT INTO refusal_days AS d (day, source) VALUES (today, '') ON CONFLICT (day, source) DO UPDATE SET rows = d.rows;
  SELECT (is_known OR strangers.rows < limits.rows_of_strangers) AND coalesce(mine.rows, 0) < own_most
    INTO has_room
    FROM refusal_days AS strangers
    LEFT JOIN refusal_days AS mine ON mine.day = today AND mine.source = own
   WHERE strangers.day = today AND strangers.source = '';
  IF has_room THEN
    INSERT INTO refusal_days AS d (day, source, rows) VALUES (today, own, 1)
      ON CONFLICT (day, source) DO UPDATE SET rows = d.rows + 1;
    UPDATE refusal_days SET rows = rows + 1 WHERE day = today AND source = '' AND NOT is_known;
    RETURN NEW;
  END IF;
  -- Whoever has no row of his own gets none by being left out, or a flood from many addresses would fill this table instead.
  UPDATE refusal_days SET left_out = left_out + NEW.times WHERE day = today AND source = own;
  IF NOT is_known OR NOT FOUND THEN
    UPDATE refusal_days SET left_out = left_out + NEW.times WHERE day = today AND source = '';
  END IF;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION rights_in_force() RETURNS SETOF rights
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  WITH home AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = current_schema()),
  own AS (SELECT r.oid, r.rolname::text AS name FROM pg_roles AS r, home WHERE starts_with(r.rolname::text, home.nspname::text || '_')),
  thing AS (
    SELECT 'SCHEMA ' || quote_ident(nspname::text) AS object, nspowner AS owner, nspacl AS acl, null::name AS attribute FROM home
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, c.relacl, null FROM pg_class AS c, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'TABLE ' || quote_ident(c.relname::text), c.relowner, a.attacl, a.attname
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid, home
     WHERE c.relnamespace = home.oid AND c.relkind IN ('r', 'v') AND a.attacl IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION ' || p.oid::regprocedure::text, p.proowner, p.proacl, null FROM pg_proc AS p, home WHERE p.pronamespace = home.oid
    UNION ALL
    -- Domains and composite types; the row types of tables go with their tables.
    SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || t.oid::regtype::text, t.typowner, null, null
      FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid, home
     WHERE t.typnamespace = home.oid AND (t.typtype = 'd' OR c.relkind = 'c')
  )
  SELECT DISTINCT thing.object, 'OWNER', own.name FROM thing JOIN own ON own.oid = thing.owner
  UNION ALL
  SELECT DISTINCT thing.object, a.privilege_type || coalesce(' (' || quote_ident(thing.attribute::text) || ')', ''), own.name
    FROM thing, aclexplode(thing.acl) AS a JOIN own ON own.oid = a.grantee WHERE a.grantee <> thing.owner
  UNION ALL
  SELECT DISTINCT 'ROLE ' || quote_ident(granted.name), 'MEMBER', own.name
    FROM pg_auth_members AS m JOIN own ON own.oid = m.member JOIN own AS granted ON granted.oid = m.roleid
  UNION ALL
  SELECT 'TABLE ' || quote_ident(p.tablename::text),
         pg_catalog.concat('POLICY ', quote_ident(p.policyname::text), ' ON ', quote_ident(p.tablename::text), ' AS ', p.permissive, ' FOR ', p.cmd, ' TO ',
                (SELECT string_agg(CASE r WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(r::text) END, ', ') FROM pg_catalog.unnest(p.roles) AS r),
                ' USING (' || p.qual || ')', ' WITH CHECK (' || p.with_check || ')'), ''
    FROM pg_policies AS p, home WHERE p.schemaname = home.nspname
$$;

CREATE OR REPLACE FUNCTION differing_parts(
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

DROP FUNCTION is_same_json(text, text, text[]);
DROP FUNCTION bytes_to_compare(text, text);
CREATE OR REPLACE FUNCTION end_turn(appender text, turn bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
  INSERT INTO checkpoints AS c (reader, position) VALUES ('append ' || appender, turn)
  ON CONFLICT (reader) DO UPDATE SET position = greatest(c.position, excluded.position), updated_at = clock_timestamp();
END;

SELECT hand_over();
