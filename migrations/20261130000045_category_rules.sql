-- The rules that an event of any category is checked by: what it must look like by itself, and what
-- the log must hold. They read the tables that install_category() fills.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The last event of a stream is one probe of this index, whatever other categories have under the
-- same id.
ALTER TABLE events
  DROP CONSTRAINT events_stream_version_key,
  ADD CONSTRAINT events_stream_version_key UNIQUE (stream_id, category, version);

-- What kinds of events there are ------------------------------------------------------------------

-- That the ledger has no such category, in words; null where it has it. Every ledger has jobs.
CREATE FUNCTION missing_category(category text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
BEGIN
  IF category = 'job' OR EXISTS (SELECT FROM categories AS c WHERE c.name = category) THEN
    RETURN null;
  END IF;
  RETURN format('there is no category %s; there are %s', coalesce(to_json(left(category, 100))::text, 'null'),
                (SELECT string_agg(known, ', ' ORDER BY known COLLATE "C")
                   FROM (SELECT 'job' AS known UNION SELECT c.name FROM categories AS c) AS all_known));
END
$$;

-- That a category has no such type, in words; null where it has it.
CREATE FUNCTION missing_type(category text, type text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
BEGIN
  IF category = 'job' THEN
    RETURN CASE WHEN is_event_type(type) IS NOT TRUE
      THEN format('%s is not an event type; use queued, progress, truncated, finished or failed',
                  coalesce(quote_literal(left(type, 100)), 'null')) END;
  ELSIF EXISTS (SELECT FROM category_types AS t WHERE t.category = category AND t.type = type) THEN
    RETURN null;
  END IF;
  RETURN format('%s is not an event type of %s; use %s', coalesce(quote_literal(left(type, 100)), 'null'), category,
                (SELECT string_agg(t.type, ', ' ORDER BY t.type) FROM category_types AS t WHERE t.category = category));
END
$$;

-- The same for those who read events of a category, perhaps of some types of it: a misspelled name
-- would otherwise look like a stream without events. With the owner's rights, because a role that
-- reads events need not read the rules.
CREATE FUNCTION missing_kind(category text, types text[] DEFAULT null) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  RETURN coalesce(
    missing_category(category),
    (SELECT missing_type(category, given.type) FROM unnest(types) WITH ORDINALITY AS given (type, place)
      WHERE missing_type(category, given.type) IS NOT NULL ORDER BY given.place LIMIT 1));
END
$$;

-- What one event must look like by itself --------------------------------------------------------

-- Everything that can be wrong with one event, whatever the log holds. `code` and `message` are
-- null where nothing is.
CREATE FUNCTION check_event(
  category text, stream text, type text, data text, metadata text, occurred_at timestamptz, expected_version integer,
  OUT code text, OUT message text, OUT total integer, OUT completed integer)
LANGUAGE plpgsql STABLE AS $$
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

CREATE OR REPLACE FUNCTION check_event(
  job text, type text, data text, metadata text, occurred_at timestamptz, expected_version integer,
  OUT code text, OUT message text, OUT total integer, OUT completed integer)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  SELECT c.code, c.message, c.total, c.completed INTO code, message, total, completed
    FROM check_event('job', job, type, data, metadata, occurred_at, expected_version) AS c;
END
$$;

-- What the log must hold --------------------------------------------------------------------------

-- The code of the refusal of an event whose type may not follow the last one of its stream, which
-- is not a job. `last_type` is null while the stream has no events.
CREATE FUNCTION life_refusal(category text, type text, last_type text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
BEGIN
  IF last_type IS NULL THEN
    RETURN 'unknown_job';
  ELSIF NOT EXISTS (SELECT FROM category_life AS l
                     WHERE l.category = category AND l.last_type <> '' AND l.type = type)
  THEN
    RETURN 'already_queued';
  ELSIF EXISTS (SELECT FROM category_types AS t WHERE t.category = category AND t.type = last_type AND t.ends) THEN
    RETURN 'already_ended';
  END IF;
  RETURN 'invalid_transition';
END
$$;

-- What life_refusal() says, in words.
CREATE FUNCTION explain_life_refusal(refusal text, category text, stream text, type text, last_type text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
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
$$;

-- The streams that an event names and that are not there: as a message, null where all are. The log
-- is locked.
CREATE FUNCTION missing_reference(rule category_types, data jsonb) RETURNS text
LANGUAGE plpgsql STABLE AS $$
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
  taken  text;
BEGIN
  -- A stream that is new has nothing to release, and takes what it can until something is taken.
  FOR number IN 1 .. cardinality(rule.unique_keys) LOOP
    claim := claimed_value(data, rule.unique_keys[number], rule.ignoring_case[number]);
    CONTINUE WHEN claim IS NULL;
    IF is_new THEN
      INSERT INTO claims (category, key, value, stream_id)
      VALUES (rule.category, rule.unique_keys[number], claim, stream)
      ON CONFLICT ON CONSTRAINT claims_pkey DO NOTHING;
      CONTINUE WHEN FOUND;
      DELETE FROM claims AS c WHERE c.stream_id = stream AND c.category = rule.category;
    ELSE
      CONTINUE WHEN NOT EXISTS (
        SELECT FROM claims AS c
         WHERE c.category = rule.category AND c.key = rule.unique_keys[number] AND c.value = claim
           AND c.stream_id <> stream);
    END IF;
    IF rule.unique_keys[number] = ANY (rule.personal_keys) THEN
      RETURN format('the value of "%s" belongs to another %s: it must be unique', rule.unique_keys[number],
                    rule.category);
    END IF;
    RETURN format('"%s" %s belongs to another %s: it must be unique', rule.unique_keys[number],
                  data -> rule.unique_keys[number], rule.category);
  END LOOP;
  IF is_new THEN
    RETURN null;
  END IF;
  FOR number IN 1 .. cardinality(rule.unique_keys) LOOP
    CONTINUE WHEN NOT data ? rule.unique_keys[number];
    claim := claimed_value(data, rule.unique_keys[number], rule.ignoring_case[number]);
    DELETE FROM claims AS c
     WHERE c.stream_id = stream AND c.category = rule.category AND c.key = rule.unique_keys[number]
       AND c.value IS DISTINCT FROM claim;
    IF claim IS NOT NULL THEN
      INSERT INTO claims (category, key, value, stream_id)
      VALUES (rule.category, rule.unique_keys[number], claim, stream)
      ON CONFLICT ON CONSTRAINT claims_pkey DO NOTHING;  -- held by this stream already
    END IF;
  END LOOP;
  RETURN null;
END
$$;

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

DO $$
BEGIN
  REVOKE ALL ON FUNCTION
    missing_category(text), missing_type(text, text), missing_kind(text, text[]),
    check_event(text, text, text, text, text, timestamptz, integer), life_refusal(text, text, text),
    explain_life_refusal(text, text, text, text, text), missing_reference(category_types, jsonb),
    claim_values(category_types, text, jsonb, boolean), holder_of(text, text, text),
    other_holder(text, text, text, json)
    FROM PUBLIC;
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION holder_of(text, text, text), other_holder(text, text, text, json) TO %I',
    current_schema() || '_reader');
  -- To all who may read events.
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION missing_kind(text, text[]) TO %I, %I, %I, %I, %I', current_schema() || '_reader',
    current_schema() || '_subscriber', current_schema() || '_relay', current_schema() || '_projector',
    current_schema() || '_sealer');
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DROP FUNCTION
  other_holder(text, text, text, json), holder_of(text, text, text),
  claim_values(category_types, text, jsonb, boolean),
  missing_reference(category_types, jsonb),
  explain_life_refusal(text, text, text, text, text), life_refusal(text, text, text);
CREATE OR REPLACE FUNCTION check_event(
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

DROP FUNCTION check_event(text, text, text, text, text, timestamptz, integer), missing_kind(text, text[]),
  missing_type(text, text), missing_category(text);

ALTER TABLE events
  DROP CONSTRAINT events_stream_version_key,
  ADD CONSTRAINT events_stream_version_key UNIQUE (stream_id, version, category);
