-- Each event of new_events becomes one row of audit_log, whatever came before it. Metadata are parsed only where there are any, and once.

INSERT INTO audit_log (position, event_id, actor, job, version, type, recorded_at, occurred_at, correlation_id, causation_id, source, words)
SELECT position, event_id,
       metadata ->> 'actor',
       stream_id, version, type, recorded_at, occurred_at,
       metadata ->> 'correlation_id',
       metadata ->> 'causation_id',
       CASE WHEN jsonb_typeof(metadata -> 'source') = 'string' THEN left(metadata ->> 'source', 1000) END,
       nullif(to_tsvector('simple', left(
         CASE type
           WHEN 'queued'    THEN data ->> 'name'
           WHEN 'progress'  THEN data ->> 'message'
           WHEN 'truncated' THEN data ->> 'reason'
           WHEN 'failed'    THEN data ->> 'error'
         END, 1000)), '')
  FROM (
    SELECT position, event_id, stream_id, version, type, data, recorded_at, occurred_at,
           CASE WHEN length(metadata::text) > 2 THEN metadata::jsonb END AS metadata
      FROM new_events
    OFFSET 0  -- so that the parsed is kept, and not worked out wherever it is used
  ) AS new;
