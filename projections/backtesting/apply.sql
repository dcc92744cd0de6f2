-- Folds new_events into users, strategies and backtest_results.
--
-- What is gone never comes back: a removed stream has no further events, and nothing new refers to
-- a removed user. So the rows after a window follow from the last values of each stream and from
-- what the window removes, whatever its events were in between. Removals come first, because they
-- make room for values that must be unique; the foreign keys remove what depends on them.
--
-- Postgres knows neither how many events a window has nor how many rows a table. So nothing is
-- joined: each row is looked up by itself, in a subquery or in a LATERAL one behind OFFSET 0, and
-- ids are compared with an array. A number is looked up by its stream and then by category || '',
-- which no index has: for a plain category Postgres may take the other index, and search all
-- streams of the category.

-- Streams are numbered in the order of their first events. Each of the three highest numbers is
-- looked up once, before the first row of its category is written.
INSERT INTO backtesting_ids (category, stream_id, id)
SELECT category,
       stream_id,
       coalesce(
         CASE category
           WHEN 'user' THEN
             (SELECT id FROM backtesting_ids WHERE category = 'user' ORDER BY category DESC, id DESC LIMIT 1)
           WHEN 'strategy' THEN
             (SELECT id FROM backtesting_ids WHERE category = 'strategy' ORDER BY category DESC, id DESC LIMIT 1)
           WHEN 'backtest' THEN
             (SELECT id FROM backtesting_ids WHERE category = 'backtest' ORDER BY category DESC, id DESC LIMIT 1)
         END, 0) + row_number() OVER (PARTITION BY category ORDER BY position)
  FROM new_events
 WHERE type IN ('registered', 'saved', 'recorded');

-- With a user go the user's strategies and results.
DELETE FROM users
 WHERE id = ANY (ARRAY(
         SELECT (SELECT id FROM backtesting_ids AS known
                  WHERE known.stream_id = removal.stream_id AND known.category || '' = 'user')
           FROM new_events AS removal
          WHERE category = 'user' AND type = 'removed'));

-- Results stay, and name no strategy any more.
DELETE FROM strategies
 WHERE id = ANY (ARRAY(
         SELECT (SELECT id FROM backtesting_ids AS known
                  WHERE known.stream_id = removal.stream_id AND known.category || '' = 'strategy')
           FROM new_events AS removal
          WHERE category = 'strategy' AND type = 'removed'));

-- An address or a Discord id may go from one user to another within a window, also in a circle, and
-- each row must be unique as it is written. So the old values of those that change go first.
UPDATE users
   SET email = NULL
 WHERE id = ANY (ARRAY(
         SELECT (SELECT id FROM backtesting_ids AS known
                  WHERE known.stream_id = change.stream_id AND known.category || '' = 'user')
           FROM new_events AS change
          WHERE category = 'user' AND type = 'updated' AND data::jsonb ? 'email'));

UPDATE users
   SET discord_id = NULL
 WHERE id = ANY (ARRAY(
         SELECT (SELECT id FROM backtesting_ids AS known
                  WHERE known.stream_id = change.stream_id AND known.category || '' = 'user')
           FROM new_events AS change
          WHERE category = 'user' AND type = 'updated' AND data::jsonb ? 'discord_id'));

-- The last value of each key counts. A key that is left out keeps its value, and null takes it
-- away.
WITH member AS (
  SELECT stream_id, position, type, happened_at, key, value,
         lead(false, 1, true) OVER (PARTITION BY stream_id COLLATE "C", key COLLATE "C" ORDER BY position) AS is_last
    FROM new_events
    LEFT JOIN LATERAL jsonb_each(data::jsonb) ON true
   WHERE category = 'user'
),
change AS (
  SELECT stream_id,
         bool_or(type = 'registered')                                           AS is_new,
         bool_or(type = 'removed')                                              AS is_removed,
         min(happened_at) FILTER (WHERE type = 'registered') AT TIME ZONE 'UTC' AS created_at,
         max(happened_at) AT TIME ZONE 'UTC'                                    AS updated_at,
         coalesce(jsonb_object_agg(key, value ORDER BY position) FILTER (WHERE is_last AND key IS NOT NULL), '{}')
           AS data
    FROM member
   GROUP BY stream_id
)
INSERT INTO users (id, discord_id, email, username, avatar_url, created_at, updated_at)
SELECT known.id,
       CASE WHEN data ? 'discord_id' THEN data ->> 'discord_id' ELSE present.discord_id END,
       CASE WHEN data ? 'email'      THEN data ->> 'email'      ELSE present.email      END,
       CASE WHEN data ? 'username'   THEN data ->> 'username'   ELSE present.username   END,
       CASE WHEN data ? 'avatar_url' THEN data ->> 'avatar_url' ELSE present.avatar_url END,
       coalesce(present.created_at, change.created_at),
       greatest(present.updated_at, change.updated_at)
  FROM change
 CROSS JOIN LATERAL (SELECT id FROM backtesting_ids AS known
                      WHERE known.stream_id = change.stream_id AND known.category || '' = 'user' OFFSET 0) AS known
  LEFT JOIN LATERAL (SELECT * FROM users WHERE users.id = known.id OFFSET 0) AS present ON true
 WHERE NOT is_removed AND (is_new OR present.id IS NOT NULL)
ON CONFLICT (id) DO UPDATE
   SET discord_id = excluded.discord_id,
       email      = excluded.email,
       username   = excluded.username,
       avatar_url = excluded.avatar_url,
       updated_at = excluded.updated_at;

-- A strategy whose user is gone has no row any more, whatever happens to the strategy.
WITH member AS (
  SELECT stream_id, position, type, happened_at, key, value,
         lead(false, 1, true) OVER (PARTITION BY stream_id COLLATE "C", key COLLATE "C" ORDER BY position) AS is_last
    FROM new_events
    LEFT JOIN LATERAL jsonb_each(data::jsonb) ON true
   WHERE category = 'strategy'
),
change AS (
  SELECT stream_id,
         bool_or(type = 'saved')                                           AS is_new,
         bool_or(type = 'removed')                                         AS is_removed,
         min(happened_at) FILTER (WHERE type = 'saved') AT TIME ZONE 'UTC' AS created_at,
         max(happened_at) AT TIME ZONE 'UTC'                               AS updated_at,
         coalesce(jsonb_object_agg(key, value ORDER BY position) FILTER (WHERE is_last AND key IS NOT NULL), '{}')
           AS data
    FROM member
   GROUP BY stream_id
)
INSERT INTO strategies (id, user_id, name, description, elements, created_at, updated_at)
SELECT known.id,
       coalesce(present.user_id, owner.id),
       CASE WHEN data ? 'name'        THEN data ->> 'name'        ELSE present.name        END,
       CASE WHEN data ? 'description' THEN data ->> 'description' ELSE present.description END,
       CASE WHEN data ? 'elements'    THEN data -> 'elements'     ELSE present.elements    END,
       coalesce(present.created_at, change.created_at),
       greatest(present.updated_at, change.updated_at)
  FROM change
 CROSS JOIN LATERAL (SELECT id FROM backtesting_ids AS known
                      WHERE known.stream_id = change.stream_id AND known.category || '' = 'strategy' OFFSET 0) AS known
  LEFT JOIN LATERAL (SELECT * FROM strategies WHERE strategies.id = known.id OFFSET 0) AS present ON true
  LEFT JOIN LATERAL (SELECT id FROM users
                      WHERE users.id = (SELECT id FROM backtesting_ids AS named
                                         WHERE named.stream_id = data ->> 'user_id' AND named.category || '' = 'user')
                     OFFSET 0) AS owner ON true
 WHERE NOT is_removed AND (is_new AND owner.id IS NOT NULL OR present.id IS NOT NULL)
ON CONFLICT (id) DO UPDATE
   SET name        = excluded.name,
       description = excluded.description,
       elements    = excluded.elements,
       updated_at  = excluded.updated_at;

-- A result whose user is gone has no row. One whose strategy is gone has, and names none.
WITH result AS (
  SELECT stream_id, happened_at AT TIME ZONE 'UTC' AS created_at, data::jsonb AS data
    FROM new_events
   WHERE category = 'backtest' AND type = 'recorded'
  OFFSET 0  -- Parses the data once, and not wherever they are used.
)
INSERT INTO backtest_results (id, strategy_id, user_id, start_date, end_date, benchmark_symbol, metrics, equity_curve,
                              positions, created_at)
SELECT known.id,
       strategy.id,
       owner.id,
       to_date(data ->> 'start_date', 'YYYY-MM-DD'),
       to_date(data ->> 'end_date', 'YYYY-MM-DD'),
       data ->> 'benchmark_symbol',
       data -> 'metrics',
       nullif(data -> 'equity_curve', 'null'),
       nullif(data -> 'positions', 'null'),
       created_at
  FROM result
 CROSS JOIN LATERAL (SELECT id FROM backtesting_ids AS known
                      WHERE known.stream_id = result.stream_id AND known.category || '' = 'backtest' OFFSET 0) AS known
  LEFT JOIN LATERAL (SELECT id FROM strategies
                      WHERE strategies.id = (SELECT id FROM backtesting_ids AS named
                                              WHERE named.stream_id = data ->> 'strategy_id'
                                                AND named.category || '' = 'strategy')
                     OFFSET 0) AS strategy ON true
  LEFT JOIN LATERAL (SELECT id FROM users
                      WHERE users.id = (SELECT id FROM backtesting_ids AS named
                                         WHERE named.stream_id = data ->> 'user_id' AND named.category || '' = 'user')
                     OFFSET 0) AS owner ON true
 WHERE owner.id IS NOT NULL OR data ->> 'user_id' IS NULL;

-- Last, because a result may be recorded and removed within one window. Nothing refers to results.
DELETE FROM backtest_results
 WHERE id = ANY (ARRAY(
         SELECT (SELECT id FROM backtesting_ids AS known
                  WHERE known.stream_id = removal.stream_id AND known.category || '' = 'backtest')
           FROM new_events AS removal
          WHERE category = 'backtest' AND type = 'removed'));
