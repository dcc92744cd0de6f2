-- Users, their strategies and the results of their backtests. The first three tables are those of
-- the platform's schema design: columns, types, defaults, constraints, indexes and their names.
-- Timestamps have no zone: they are in UTC.

CREATE TABLE users (
  id         serial       NOT NULL,
  discord_id varchar(255),
  email      varchar(255),
  username   varchar(255),
  avatar_url text,
  created_at timestamp    NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at timestamp    NOT NULL DEFAULT CURRENT_TIMESTAMP,

  CONSTRAINT users_pkey           PRIMARY KEY (id),
  CONSTRAINT users_discord_id_key UNIQUE (discord_id),
  CONSTRAINT users_email_key      UNIQUE (email)
);

CREATE TABLE strategies (
  id          serial       NOT NULL,
  user_id     integer,
  name        varchar(500) NOT NULL,
  description text,
  elements    jsonb        NOT NULL,
  created_at  timestamp    NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at  timestamp    NOT NULL DEFAULT CURRENT_TIMESTAMP,

  CONSTRAINT strategies_pkey         PRIMARY KEY (id),
  CONSTRAINT strategies_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX idx_strategies_user_id ON strategies (user_id);

CREATE TABLE backtest_results (
  id               serial      NOT NULL,
  strategy_id      integer,
  user_id          integer,
  start_date       date        NOT NULL,
  end_date         date        NOT NULL,
  benchmark_symbol varchar(50),
  metrics          jsonb       NOT NULL,
  equity_curve     jsonb,
  positions        jsonb,
  created_at       timestamp   NOT NULL DEFAULT CURRENT_TIMESTAMP,

  CONSTRAINT backtest_results_pkey             PRIMARY KEY (id),
  CONSTRAINT backtest_results_strategy_id_fkey FOREIGN KEY (strategy_id) REFERENCES strategies (id)
    ON DELETE SET NULL,
  CONSTRAINT backtest_results_user_id_fkey     FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX idx_backtest_results_user_id ON backtest_results (user_id);
CREATE INDEX idx_backtest_results_strategy_id ON backtest_results (strategy_id);
CREATE INDEX idx_backtest_results_created_at ON backtest_results (created_at DESC);

-- The number of each stream, which is the id of its row. It stays when the row is gone, so no
-- number is given twice. stream_id has the collation of new_events, so that the index finds it.
CREATE TABLE backtesting_ids (
  category  varchar(50)  COLLATE "C" NOT NULL,
  stream_id varchar(255) NOT NULL,
  id        integer      NOT NULL,

  CONSTRAINT backtesting_ids_pkey            PRIMARY KEY (stream_id, category),
  CONSTRAINT backtesting_ids_category_id_key UNIQUE (category, id)
);
