-- Each event becomes one row, whatever came before it.

WITH entry AS (
  SELECT * FROM prepared
)
INSERT INTO audit_log (position, event_id, actor, category, stream_id, version, type, recorded_at, occurred_at,
                       correlation_id, causation_id, source, words)
SELECT position, event_id, actor, category, stream_id, version, type, recorded_at, occurred_at,
       correlation_id, causation_id, source, words
  FROM entry;
