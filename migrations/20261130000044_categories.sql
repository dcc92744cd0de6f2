-- Categories: the kinds of streams that a ledger takes, and the rules of each, as data. A job is of
-- one category; others are installed from a folder (docs/categories.md). What is declared holds for
-- every way into the log, because appends look it up here.

-- migrate:up

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The length is no part of the pattern: one that counts takes ten times as long.
CREATE FUNCTION is_category_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN name COLLATE "C" ~ '^[a-z][a-z0-9_]*$' AND length(name) <= 50;

-- The form of an event's type, whatever its category.
CREATE FUNCTION is_type_name(type text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN type COLLATE "C" ~ '^[a-z][a-z0-9_]*$' AND length(type) <= 63;

CREATE DOMAIN category_name AS text COLLATE "C" CONSTRAINT category_name_form CHECK (is_category_name(VALUE));

-- The log takes types of other categories too. Both constraints are weaker than what they replace,
-- so no event needs to be looked at again.
ALTER DOMAIN event_type DROP CONSTRAINT event_type_known;
ALTER DOMAIN event_type ADD CONSTRAINT event_type_form CHECK (is_type_name(VALUE)) NOT VALID;
ALTER TABLE events
  DROP CONSTRAINT events_job_type,
  -- A job begins with queued and with nothing else. Progress of a job alone has a completed count.
  -- The types stand here, and not is_event_type(): each INSERT prepares this expression anew, and a
  -- function in it costs a lone append a tenth.
  ADD CONSTRAINT events_job_type CHECK (
    CASE WHEN category = 'job'
      THEN (type = 'queued') = (version = 1) AND (type = 'progress') = (completed IS NOT NULL)
        AND type = ANY ('{queued,progress,truncated,finished,failed}')
      ELSE completed IS NULL
    END) NOT VALID;

-- What a category is now.
CREATE TABLE categories (
  name         category_name NOT NULL,
  definition   json          NOT NULL,  -- category.json, in its canonical form
  hash         text          NOT NULL,
  installed_at timestamptz   NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT categories_pkey PRIMARY KEY (name)
);

-- All that an append asks about a type, in one row. The arrays repeat what the tables below say.
CREATE TABLE category_types (
  category      category_name NOT NULL,
  type          event_type    NOT NULL,
  follows       text[]        NOT NULL COLLATE "C",  -- the types that it may follow; '' as the first
  ends          boolean       NOT NULL,              -- nothing follows it
  removes       boolean       NOT NULL,              -- the stream is gone after it
  unique_keys   text[]        NOT NULL DEFAULT '{}',
  ignoring_case boolean[]     NOT NULL DEFAULT '{}',
  named_keys    text[]        NOT NULL DEFAULT '{}', -- members that name a stream
  targets       text[]        NOT NULL DEFAULT '{}', -- of these categories
  personal_keys text[]        NOT NULL DEFAULT '{}', -- members whose values no message may quote

  CONSTRAINT category_types_pkey          PRIMARY KEY (category, type),
  CONSTRAINT category_types_category_fkey FOREIGN KEY (category) REFERENCES categories ON DELETE CASCADE,
  CONSTRAINT category_types_removal_ends  CHECK (ends OR NOT removes)
);

-- Which type may follow which. `last_type` is empty while the stream has no events.
CREATE TABLE category_life (
  category  category_name NOT NULL,
  last_type text          NOT NULL COLLATE "C",
  type      event_type    NOT NULL,

  CONSTRAINT category_life_pkey      PRIMARY KEY (category, last_type, type),
  CONSTRAINT category_life_type_fkey FOREIGN KEY (category, type) REFERENCES category_types ON DELETE CASCADE
);

-- Members of the data whose value only one stream of the category can have at a time.
CREATE TABLE category_unique (
  category      category_name NOT NULL,
  key           text          NOT NULL COLLATE "C",
  ignoring_case boolean       NOT NULL,

  CONSTRAINT category_unique_pkey          PRIMARY KEY (category, key),
  CONSTRAINT category_unique_category_fkey FOREIGN KEY (category) REFERENCES categories ON DELETE CASCADE
);

-- Members of the data that name a stream, which must exist.
CREATE TABLE category_references (
  category category_name NOT NULL,
  key      text          NOT NULL COLLATE "C",
  target   category_name NOT NULL,

  CONSTRAINT category_references_pkey          PRIMARY KEY (category, key),
  CONSTRAINT category_references_category_fkey FOREIGN KEY (category) REFERENCES categories ON DELETE CASCADE,
  CONSTRAINT category_references_target_fkey   FOREIGN KEY (target) REFERENCES categories
);

-- Every definition that has been in force, and from which position on.
CREATE TABLE category_definitions (
  number       bigint        NOT NULL GENERATED ALWAYS AS IDENTITY,
  category     category_name NOT NULL,
  definition   json          NOT NULL,
  hash         text          NOT NULL,
  after        bigint        NOT NULL,  -- the head when it came into force
  installed_at timestamptz   NOT NULL DEFAULT clock_timestamp(),
  role         text          NOT NULL DEFAULT session_user,

  CONSTRAINT category_definitions_pkey             PRIMARY KEY (number),
  CONSTRAINT category_definitions_number_countable CHECK (number BETWEEN 0 AND 4611686018427387903),
  CONSTRAINT category_definitions_after_countable  CHECK (after BETWEEN 0 AND 4611686018427387903)
);

CREATE TRIGGER category_definitions_only_grow
  BEFORE UPDATE OR DELETE OR TRUNCATE ON category_definitions
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_record();
ALTER TABLE category_definitions ENABLE ALWAYS TRIGGER category_definitions_only_grow;

-- Which stream holds which value that must be unique. It follows from the log, and changes with it
-- under the same lock: see claim_spans().
CREATE TABLE claims (
  category  category_name NOT NULL,
  key       text          NOT NULL COLLATE "C",
  value     text          NOT NULL COLLATE "C",  -- as claimed_value() has it
  stream_id stream_name   NOT NULL,

  CONSTRAINT claims_pkey       PRIMARY KEY (category, key, value),
  CONSTRAINT claims_stream_key UNIQUE (stream_id, category, key),
  -- An index takes no more than some 2,700 bytes for a row.
  CONSTRAINT claims_value_fits CHECK (octet_length(value) <= 1020)
);

CREATE FUNCTION refuse_change_of_rules() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of % refused: claims change with the log, and rules by install_category()', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END
$$;

-- Not even the owner changes them by mistake.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{categories,category_types,category_life,category_unique,category_references,claims}'::text[]
  LOOP
    EXECUTE format(
      'CREATE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT
         WHEN (coalesce(current_setting(''jobledger.appending'', true), ''off'') NOT IN (''on'', ''noted''))
         EXECUTE FUNCTION refuse_change_of_rules()',
      name || '_by_rule', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', name, name || '_by_rule');
  END LOOP;
END
$$;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY '{categories,category_types,category_life,category_unique,category_references,claims,
                          category_definitions}'::text[] LOOP
    EXECUTE format(
      'CREATE TRIGGER %I BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT
         WHEN (current_setting(''max_prepared_transactions'') <> ''0'') EXECUTE FUNCTION refuse_to_prepare_changes()',
      name || '_not_prepared', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', name, name || '_not_prepared');
  END LOOP;
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

-- Rules for the data of one event -----------------------------------------------------------------

-- What the compiled rules of categories call. All of it is immutable in truth: it neither casts by
-- the session's settings nor looks at its locale, hence COLLATE "C"; and it never raises an error,
-- whatever the text.

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
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN null;
END
$$;

CREATE FUNCTION make_check_of_data() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $do$
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
$do$;

-- The log against a definition --------------------------------------------------------------------

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
CREATE FUNCTION first_breach(of_category text, OUT at_position bigint, OUT problem text)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
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

-- Installing --------------------------------------------------------------------------------------

-- Locks the log for one who has locked category_types. Who holds the log may want category_types,
-- and would be ended if both waited. So this tries for half a second, and waits only where the log
-- is never free, for less than a deadlock_timeout.
CREATE FUNCTION lock_log_beside_rules() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '400ms' AS $$
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
  check_of CONSTANT text := 'check_of_' || category;
  owner    CONSTANT text := current_schema() || '_owner';
  gone_by  text[];
  other    text;
  breach   record;
BEGIN
  IF is_category_name(category) IS NOT TRUE THEN
    RAISE EXCEPTION '% is not the name of a category: it has 1 to 50 of a-z, 0-9 and _, and begins with a letter',
                    coalesce(quote_literal(category), 'null')
      USING ERRCODE = 'JL011';
  END IF;
  -- An append reads category_types before it locks the log, and keeps that lock to its end. So no
  -- append that was checked by the rules of before comes after them.
  LOCK TABLE category_types IN ACCESS EXCLUSIVE MODE;
  IF EXISTS (SELECT FROM categories AS c WHERE c.name = category AND c.hash = hash) THEN
    RETURN false;
  END IF;
  gone_by := ARRAY(SELECT t.type::text FROM category_types AS t WHERE t.category = category AND t.removes ORDER BY 1);

  BEGIN
    INSERT INTO categories AS c (name, definition, hash) VALUES (category, definition, hash)
    ON CONFLICT (name) DO UPDATE
      SET definition = excluded.definition, hash = excluded.hash, installed_at = clock_timestamp();
    DELETE FROM category_types      AS old WHERE old.category = category;
    DELETE FROM category_unique     AS old WHERE old.category = category;
    DELETE FROM category_references AS old WHERE old.category = category;
    INSERT INTO category_types (category, type, follows, ends, removes, personal_keys)
    SELECT category, e.key,
           coalesce((SELECT array_agg(before.key ORDER BY before.key)
                       FROM json_each(definition -> 'life') AS before, json_array_elements_text(before.value) AS next
                      WHERE next = e.key), '{}'),
           json_array_length(e.value) = 0,
           EXISTS (SELECT FROM json_array_elements_text(definition -> 'removes') AS removing WHERE removing = e.key),
           ARRAY(SELECT json_array_elements_text(definition -> 'personal'))
      FROM json_each(definition -> 'life') AS e WHERE e.key <> '';
    INSERT INTO category_life (category, last_type, type)
    SELECT category, e.key, next
      FROM json_each(definition -> 'life') AS e, json_array_elements_text(e.value) AS next;
    INSERT INTO category_unique (category, key, ignoring_case)
    SELECT category, e ->> 'key', coalesce((e ->> 'ignoring_case')::boolean, false)
      FROM json_array_elements(definition -> 'unique') AS e;
    INSERT INTO category_references (category, key, target)
    SELECT category, e ->> 'key', e ->> 'category'
      FROM json_array_elements(definition -> 'references') AS e;
    UPDATE category_types AS t
       SET (unique_keys, ignoring_case) = (
             SELECT coalesce(array_agg(u.key ORDER BY u.key), '{}'),
                    coalesce(array_agg(u.ignoring_case ORDER BY u.key), '{}')
               FROM category_unique AS u WHERE u.category = category),
           (named_keys, targets) = (
             SELECT coalesce(array_agg(r.key ORDER BY r.key), '{}'),
                    coalesce(array_agg(r.target::text ORDER BY r.key), '{}')
               FROM category_references AS r WHERE r.category = category)
     WHERE t.category = category;
  EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
    RAISE EXCEPTION 'the definition of % is not sound: %', category, sqlerrm USING ERRCODE = 'JL011';
  END;

  -- The rules of a job are in functions that are written by hand.
  IF category = 'job' THEN
    IF EXISTS (SELECT FROM category_unique AS u WHERE u.category = category)
      OR EXISTS (SELECT FROM category_references AS r WHERE r.category = category)
    THEN
      RAISE EXCEPTION 'jobs have no unique values and no references' USING ERRCODE = 'JL011';
    END IF;
    INSERT INTO category_definitions (category, definition, hash, after) VALUES (category, definition, hash, head());
    RETURN true;
  END IF;
  EXECUTE format('CREATE OR REPLACE FUNCTION %I(type text, data jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS %L',
                 check_of, check_body);
  EXECUTE format('REVOKE ALL ON FUNCTION %I(text, jsonb) FROM PUBLIC', check_of);
  IF current_user <> owner THEN
    EXECUTE format('ALTER FUNCTION %I(text, jsonb) OWNER TO %I', check_of, owner);
  END IF;
  PERFORM make_check_of_data();
  -- A ledger that only dbmate has made remembers no rights.
  PERFORM remember_rights(what) FROM rights WHERE object = 'VERSION';

  -- Whether a stream is gone matters to those who refer to it.
  FOR other IN
    SELECT category
     UNION
    SELECT r.category FROM category_references AS r
     WHERE r.target = category
       AND gone_by <> ARRAY(SELECT t.type::text FROM category_types AS t
                             WHERE t.category = category AND t.removes ORDER BY 1)
  LOOP
    breach := first_breach(other);
    IF breach.at_position IS NOT NULL THEN
      RAISE EXCEPTION 'the event at position % breaks the new rules of %: %', breach.at_position, category,
                      breach.problem
        USING ERRCODE = 'JL011',
              HINT = 'A category that has events is changed only so that they stay valid. Allow what the log has, '
                     'or take another name.';
    END IF;
  END LOOP;
  DELETE FROM claims AS old
   WHERE old.category = category
     AND NOT EXISTS (
           SELECT FROM claim_spans(category) AS c
            WHERE c.until IS NULL AND c.key = old.key AND c.value = old.value AND c.stream_id = old.stream_id);
  INSERT INTO claims (category, key, value, stream_id)
  SELECT category, c.key, c.value, c.stream_id FROM claim_spans(category) AS c WHERE c.until IS NULL
  ON CONFLICT DO NOTHING;
  -- Events of jobs have come meanwhile, and no others.
  PERFORM lock_log_beside_rules();
  INSERT INTO category_definitions (category, definition, hash, after) VALUES (category, definition, hash, head());
  RETURN true;
END
$do$;

DO $$
DECLARE
  home CONSTANT text := replace(current_schema(), '"', '""');
  statement text;
BEGIN
  REVOKE ALL ON categories, category_types, category_life, category_unique, category_references, category_definitions,
    claims FROM PUBLIC;
  REVOKE ALL ON FUNCTION is_category_name(text), is_type_name(text), refuse_change_of_rules(),
    lock_log_beside_rules(),
    claimed_value(jsonb, text, boolean), longest_claim(), is_date(text), seconds_since_1970(text), is_date_time(text),
    is_uuid(text), is_email(text), is_uri(text), is_before(text, text), first_other_key(jsonb, text[]),
    repeats_a_key(json, jsonb), first_repeated_key(json),
    check_data_in(text, text, jsonb), make_check_of_data(), claim_spans(text), claim_differences(), first_breach(text),
    install_category(json, text, text) FROM PUBLIC;
  FOREACH statement IN ARRAY ARRAY[
    'GRANT SELECT ON categories, category_types, category_life, category_unique, category_references,
       category_definitions, claims TO :reader',
    'GRANT EXECUTE ON FUNCTION is_category_name(text), is_type_name(text)
       TO :reader, :subscriber, :relay, :projector, :sealer',
    'GRANT EXECUTE ON FUNCTION claimed_value(jsonb, text, boolean), claim_spans(text), claim_differences()
       TO :reader']
  LOOP
    EXECUTE regexp_replace(statement, ':(\w+)', '"' || home || '_\1"', 'g');
  END LOOP;
END
$$;

SELECT hand_over();

-- migrate:down

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

DO $$
BEGIN
  IF EXISTS (SELECT FROM events WHERE category <> 'job') THEN
    RAISE EXCEPTION 'the log holds events of other categories than job, and they would lose their rules'
      USING HINT = 'Stay at this version.';
  END IF;
END
$$;
DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT c.name FROM categories AS c WHERE c.name <> 'job' LOOP
    EXECUTE format('DROP FUNCTION %I(text, jsonb)', 'check_of_' || name);
  END LOOP;
END
$$;
DROP FUNCTION install_category(json, text, text), first_breach(text), claim_differences(), claim_spans(text),
  make_check_of_data(), check_data_in(text, text, jsonb), first_repeated_key(json), repeats_a_key(json, jsonb),
  first_other_key(jsonb, text[]), is_before(text, text), is_uri(text), is_email(text), is_uuid(text),
  is_date_time(text), seconds_since_1970(text), is_date(text), longest_claim(), claimed_value(jsonb, text, boolean),
  lock_log_beside_rules();
DROP TABLE claims, category_definitions, category_references, category_unique, category_life, category_types,
  categories;
DROP FUNCTION refuse_change_of_rules();
ALTER TABLE events
  DROP CONSTRAINT events_job_type,
  ADD CONSTRAINT events_job_type CHECK (
    (type = 'queued') = (version = 1) AND (type = 'progress') = (completed IS NOT NULL));
ALTER DOMAIN event_type DROP CONSTRAINT event_type_form;
ALTER DOMAIN event_type ADD CONSTRAINT event_type_known CHECK (is_event_type(VALUE));
DROP DOMAIN category_name;
DROP FUNCTION is_type_name(text), is_category_name(text);
