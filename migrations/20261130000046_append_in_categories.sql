-- Appends to streams of any category. Jobs keep their own paths, which are written by hand for
-- speed. A call with other categories comes here: one event by itself, plain batches in sets, and
-- all others event by event. Any job may come along in such a call; a test sends the same requests
-- both ways.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Event by event ----------------------------------------------------------------------------------

-- Appends one event of any category to the log, which is locked, or answers why not. `rule` is its
-- row of category_types; a job needs none. `code` and `message` are what check_event() found.
-- `compared` adds up the bytes that a call parses to tell a retry from another event under its id.
-- `head_before` is the head before the call. `recorded_at` is null for now.
CREATE FUNCTION append_next(
  rule category_types, category text, stream text, type text, data text, metadata text, expected_version integer,
  id uuid, occurred_at timestamptz, recorded_at timestamptz, code text, message text, total integer, completed integer,
  head_before bigint, INOUT compared bigint, OUT answer append_answer)
LANGUAGE plpgsql AS $$
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
  ordinal          integer,
  rule             category_types,
  category         text,
  stream           text,
  type             text,
  data             text,
  metadata         text,
  expected_version integer,
  id               uuid,
  occurred_at      timestamptz,
  code             text,
  message          text,
  total            integer,
  completed        integer
);

-- Appends several events of one request, all or none.
CREATE FUNCTION append_together(
  events event_to_append[], head_before bigint, INOUT compared bigint, OUT answers append_answer[])
LANGUAGE plpgsql AS $$
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
CREATE FUNCTION append_each(
  categories text[], streams text[], types text[], data text[], metadata text[], expected_versions integer[],
  ids uuid[], occurred_ats timestamptz[], requests integer[], codes text[], messages text[], totals integer[],
  completeds integer[]
) RETURNS SETOF append_answer
LANGUAGE plpgsql AS $$
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

-- In sets -----------------------------------------------------------------------------------------

-- What check_streams() finds out about a batch before the log is locked. Arrays are by ordinal, but
-- those of streams by number of the stream.
CREATE TYPE checked_streams AS (
  is_plain          boolean,
  ids               uuid[],
  streams           integer[],
  places            integer[],  -- the event's place among those of its stream
  stream_categories text[],
  stream_ids        text[],
  first_types       text[],
  expected          integer[]
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
  answer checked_streams;
BEGIN
  answer.is_plain := greatest(cardinality(metadata), cardinality(expected_versions), cardinality(event_ids),
                              cardinality(occurred_ats), cardinality(requests)) <= batch IS NOT FALSE;
  IF NOT answer.is_plain THEN
    RETURN answer;
  END IF;
  -- The rules for one event.
  SELECT bool_and(coalesce(
           e.category <> 'job' AND is_stream_id(e.stream) AND jsonb_typeof(e.value) = 'object'
             AND NOT has_number_out_of_range(e.value)
             AND (pg_column_size(e.value) <= 1024 OR NOT is_nested_too_deep(e.value))
             AND e.bytes <= longest_data() AND NOT repeats_a_key(e.source, e.value)
             AND check_data_in(e.category, e.type, e.value) IS NULL, false)),
         array_agg(coalesce(e.id, uuid_v7()) ORDER BY e.ordinal)
    INTO answer.is_plain, answer.ids
    FROM (
      SELECT e.ordinal, e.category, e.stream, e.type, e.data::json AS source, e.data::jsonb AS value,
             octet_length(e.data) AS bytes, e.id
        FROM unnest(categories, streams, types, data, event_ids)
               WITH ORDINALITY AS e (category, stream, type, data, id, ordinal)
      OFFSET 0) AS e;
  IF num_nonnulls(metadata, expected_versions, occurred_ats, requests) > 0 THEN
    SELECT answer.is_plain AND bool_and(
             (e.expected >= 0) IS NOT FALSE AND is_event_time(e.moment) IS NOT FALSE AND is_plain_metadata(e.metadata)
               -- Requests of several events are left to append_each().
               AND (e.request = e.previous) IS NOT TRUE)
      INTO answer.is_plain
      FROM (
        SELECT e.*, lag(e.request) OVER (ORDER BY e.ordinal) AS previous
          FROM unnest(metadata, expected_versions, occurred_ats, requests)
                 WITH ORDINALITY AS e (metadata, expected, moment, request, ordinal)) AS e;
  END IF;
  IF NOT answer.is_plain OR (SELECT count(DISTINCT id) < batch FROM unnest(answer.ids) AS id) THEN
    answer.is_plain := false;
    RETURN answer;
  END IF;

  -- The life of each stream within the call.
  SELECT bool_and(coalesce(
           NOT t.removes AND (e.place = 1 OR e.previous = ANY (t.follows)
                                AND (t.unique_keys = '{}' OR NOT e.data::jsonb ?| t.unique_keys)), false)),
         array_agg(e.stream ORDER BY e.ordinal), array_agg(e.place ORDER BY e.ordinal)
    INTO answer.is_plain, answer.streams, answer.places
    FROM (
      SELECT e.*, dense_rank() OVER (ORDER BY e.category, e.id) AS stream,
             row_number() OVER in_stream AS place, lag(e.type) OVER in_stream AS previous
        FROM (
          SELECT e.ordinal, e.category COLLATE "C" AS category, e.id COLLATE "C" AS id, e.type COLLATE "C" AS type,
                 e.data
            FROM unnest(categories, streams, types, data)
                   WITH ORDINALITY AS e (category, id, type, data, ordinal)) AS e
      WINDOW in_stream AS (PARTITION BY e.category, e.id ORDER BY e.ordinal)) AS e
    LEFT JOIN category_types AS t ON t.category = e.category AND t.type = e.type;
  IF answer.is_plain IS NOT TRUE THEN
    answer.is_plain := false;
    RETURN answer;
  END IF;
  SELECT array_agg(s.category), array_agg(s.id), array_agg(s.first_type), array_agg(s.expected),
         bool_and((s.least_expected <> s.expected) IS NOT TRUE)
    INTO answer.stream_categories, answer.stream_ids, answer.first_types, answer.expected, answer.is_plain
    FROM (
      SELECT min(e.category) AS category, min(e.id) AS id, min(e.type) FILTER (WHERE e.place = 1) AS first_type,
             max(e.expected - e.place + 1) AS expected, min(e.expected - e.place + 1) AS least_expected
        FROM unnest(categories, streams, types, expected_versions, answer.streams, answer.places)
               AS e (category, id, type, expected, stream, place)
       GROUP BY e.stream
       ORDER BY e.stream) AS s;
  RETURN answer;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  -- Some data is not JSON that the ledger takes. check_event() says which, and why.
  RETURN (false, null, null, null, null, null, null, null)::checked_streams;
END
$$;

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
  head_versions integer[];  -- by number of the stream
  is_plain      boolean;
  answer        batch_answer;
BEGIN
  SELECT bool_and((s.expected <> coalesce(head.version, 0)) IS NOT TRUE
                    AND coalesce(head.type, '') = ANY (t.follows)),
         array_agg(coalesce(head.version, 0) ORDER BY s.stream)
    INTO is_plain, head_versions
    FROM unnest(checked.stream_categories, checked.stream_ids, checked.first_types, checked.expected)
           WITH ORDINALITY AS s (category, id, first_type, expected, stream)
    JOIN category_types AS t ON t.category = s.category AND t.type = s.first_type
    LEFT JOIN LATERAL (
      SELECT e.version, e.type FROM events AS e
       WHERE e.stream_id = s.id AND e.category = s.category
       ORDER BY e.version DESC LIMIT 1) AS head ON true;
  is_plain := is_plain AND NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = ANY (checked.ids));
  IF NOT is_plain THEN
    RETURN null;
  END IF;

  IF EXISTS (SELECT FROM category_references AS r WHERE r.category = ANY (checked.stream_categories))
    AND EXISTS (
      SELECT FROM (
        SELECT DISTINCT r.target, e.data::jsonb ->> r.key AS named
          FROM unnest(categories, data) AS e (category, data)
          JOIN category_references AS r ON r.category = e.category) AS wanted
        LEFT JOIN LATERAL (
          SELECT e.category, e.type FROM events AS e
           WHERE e.stream_id = wanted.named AND e.category = wanted.target
           ORDER BY e.version DESC LIMIT 1) AS head ON true
        LEFT JOIN category_types AS t ON t.category = head.category AND t.type = head.type
       WHERE wanted.named IS NOT NULL AND (head.type IS NULL OR t.removes IS TRUE))
  THEN
    RETURN null;
  END IF;

  IF EXISTS (SELECT FROM category_unique AS u WHERE u.category = ANY (checked.stream_categories)) THEN
    -- A claim of a stream that has events may replace another one.
    IF EXISTS (
      SELECT FROM unnest(categories, data, checked.streams) AS e (category, data, stream)
        JOIN category_unique AS u ON u.category = e.category
       WHERE head_versions[e.stream] > 0 AND e.data::jsonb ? u.key)
    THEN
      RETURN null;
    END IF;
    BEGIN
      INSERT INTO claims (category, key, value, stream_id)
      SELECT e.category, u.key, claimed_value(e.data::jsonb, u.key, u.ignoring_case), e.stream
        FROM unnest(categories, streams, data) AS e (category, stream, data)
        JOIN category_unique AS u ON u.category = e.category
       WHERE e.data::jsonb ->> u.key IS NOT NULL;
    EXCEPTION WHEN unique_violation THEN
      RETURN null;
    END;
  END IF;

  INSERT INTO events (
    position, event_id, category, stream_id, version, type, data, metadata, occurred_at, recorded_at)
  SELECT last.head + e.ordinal, e.id, e.category, e.stream, head_versions[e.number] + e.place, e.type, e.data::json,
         coalesce(e.metadata, '{}')::json, e.occurred_at, greatest(clock_timestamp(), last.recorded_at)
    FROM unnest(checked.ids, categories, streams, types, data, metadata, occurred_ats, checked.streams, checked.places)
           WITH ORDINALITY AS e (id, category, stream, type, data, metadata, occurred_at, number, place, ordinal);
  answer.first_position := last.head + 1;
  answer.event_ids := checked.ids;
  SELECT array_agg(head_versions[e.number] + e.place ORDER BY e.ordinal) INTO answer.versions
    FROM unnest(checked.streams, checked.places) WITH ORDINALITY AS e (number, place, ordinal);
  RETURN answer;
END
$$;

-- Appends one event to a stream of another category than job, without sets.
CREATE FUNCTION append_one_to_stream(
  category text, stream text, type text, data text, metadata text, expected_version integer, event_id uuid,
  occurred_at timestamptz
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  id       CONSTANT uuid := coalesce(event_id, uuid_v7());
  context  CONSTANT text := coalesce(metadata, '{}');
  rule     category_types;
  value    jsonb;
  is_plain boolean;
  refusal  record;
  done     record;
  answer   append_answer;
BEGIN
  -- This keeps the rules from being changed until the transaction ends: see install_category().
  SELECT t.* INTO rule FROM category_types AS t WHERE t.category = category AND t.type = type;
  BEGIN
    value := CASE WHEN octet_length(data) <= longest_data() THEN data::jsonb END;
    is_plain := coalesce(
      rule.type IS NOT NULL AND jsonb_typeof(value) = 'object' AND is_stream_id(stream)
        AND NOT has_number_out_of_range(value) AND NOT repeats_a_key(data::json, value)
        AND (pg_column_size(value) <= 1024 OR NOT is_nested_too_deep(value))
        AND is_event_time(occurred_at) IS NOT FALSE AND (expected_version >= 0) IS NOT FALSE
        AND is_plain_metadata(metadata)
        AND check_data_in(category, type, value) IS NULL, false);
  EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    is_plain := false;
  END;
  IF NOT is_plain THEN
    refusal := check_event(category, stream, type, coalesce(data, 'null'), context, occurred_at, expected_version);
    PERFORM lock_log();
    done := append_next(rule, category, stream, type, data, context, expected_version, id, occurred_at, null,
                        refusal.code, refusal.message, refusal.total, refusal.completed, null, 0);
  ELSE
    PERFORM lock_log();
    done := append_next(rule, category, stream, type, data, context, expected_version, id, occurred_at, null,
                        null, null, null, null, null, 0);
  END IF;
  answer := done.answer;
  IF answer.code IS NULL AND NOT answer.duplicate THEN
    RETURN (answer.position, ARRAY[answer.version], ARRAY[id], null)::batch_answer;
  END IF;
  answer.ordinal := 1;
  RETURN (null, null, null, ARRAY[answer])::batch_answer;
END
$$;

-- Appends a batch of streams of any categories, as append_batch() does for jobs.
CREATE FUNCTION append_to_streams(
  categories text[], streams text[], types text[], data text[], metadata text[], expected_versions integer[],
  event_ids uuid[], occurred_ats timestamptz[], requests integer[], appender text, turn bigint
) RETURNS batch_answer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  batch      CONSTANT integer := cardinality(streams);
  checked    checked_streams;
  codes      text[];
  messages   text[];
  totals     integer[];
  completeds integer[];
  answer     batch_answer;
BEGIN
  IF batch = 1 AND turn IS NULL AND categories[1] <> 'job' THEN
    RETURN append_one_to_stream(categories[1], streams[1], types[1], data[1], metadata[1], expected_versions[1],
                                event_ids[1], occurred_ats[1]);
  END IF;
  -- Whoever has read this table keeps the rules from being changed until the transaction ends: see
  -- install_category(). So what is checked before the log is locked holds after it.
  LOCK TABLE category_types IN ACCESS SHARE MODE;
  SELECT array_agg(coalesce(e.category, 'job') ORDER BY e.ordinal) INTO categories
    FROM unnest(streams, categories) WITH ORDINALITY AS e (stream, category, ordinal) WHERE e.ordinal <= batch;
  IF batch > 1 THEN
    checked := check_streams(categories, streams, types, data, metadata, expected_versions, event_ids, occurred_ats,
                             requests);
  END IF;
  IF checked.is_plain IS NOT TRUE THEN
    SELECT array_agg(coalesce(e.id, uuid_v7()) ORDER BY e.ordinal), array_agg(finding.code ORDER BY e.ordinal),
           array_agg(finding.message ORDER BY e.ordinal), array_agg(finding.total ORDER BY e.ordinal),
           array_agg(finding.completed ORDER BY e.ordinal)
      INTO checked.ids, codes, messages, totals, completeds
      FROM unnest(categories, streams, types, data, metadata, occurred_ats, expected_versions, event_ids)
             WITH ORDINALITY AS e (category, stream, type, data, metadata, occurred_at, expected_version, id, ordinal),
           LATERAL check_event(e.category, e.stream, e.type, coalesce(e.data, 'null'), coalesce(e.metadata, '{}'),
                               e.occurred_at, e.expected_version) AS finding
     WHERE e.ordinal <= batch;
  END IF;

  IF turn IS NOT NULL THEN
    PERFORM await_turn(appender, turn);
    PERFORM end_turn(appender, turn);
  END IF;
  PERFORM lock_log();

  IF checked.is_plain THEN
    answer := append_plain_streams(checked, categories, streams, types, data, metadata, occurred_ats);
    IF answer.first_position IS NOT NULL THEN
      RETURN answer;
    END IF;
  END IF;
  SELECT array_agg(each ORDER BY each.ordinal) INTO answer.answers
    FROM append_each(categories, streams, types, data, metadata, expected_versions, checked.ids, occurred_ats, requests,
                     codes, messages, totals, completeds) AS each;
  RETURN answer;
END
$$;

REVOKE ALL ON FUNCTION
  append_next(category_types, text, text, text, text, text, integer, uuid, timestamptz, timestamptz, text, text,
    integer, integer, bigint, bigint),
  append_together(event_to_append[], bigint, bigint),
  append_each(text[], text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text[], text[],
    integer[], integer[]),
  check_streams(text[], text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
  append_plain_streams(checked_streams, text[], text[], text[], text[], text[], timestamptz[]),
  append_one_to_stream(text, text, text, text, text, integer, uuid, timestamptz),
  append_to_streams(text[], text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint)
  FROM PUBLIC;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION
  append_to_streams(text[], text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text, bigint),
  append_one_to_stream(text, text, text, text, text, integer, uuid, timestamptz),
  append_plain_streams(checked_streams, text[], text[], text[], text[], text[], timestamptz[]),
  check_streams(text[], text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[]),
  append_each(text[], text[], text[], text[], text[], integer[], uuid[], timestamptz[], integer[], text[], text[],
    integer[], integer[]),
  append_together(event_to_append[], bigint, bigint),
  append_next(category_types, text, text, text, text, text, integer, uuid, timestamptz, timestamptz, text, text,
    integer, integer, bigint, bigint);
DROP TYPE checked_streams, event_to_append;
