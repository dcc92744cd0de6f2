-- Each event of new_events as a row of audit_log. Metadata are parsed once, and only if there are
-- any.
--
-- Names may be long, but an index entry has at most 2,704 bytes. So of a name longer than 300
-- characters, the first 200 are kept with a hash of all of it. (A cast to bytea reads backslashes
-- as escapes, hence the replace(); convert_to() would depend on the database.)
--
-- Of the data only those of jobs are read. Other categories may keep personal data there, and a
-- second copy would have to be found when they are erased.

SELECT position, event_id,
       CASE WHEN length(metadata ->> 'actor') > 300
            THEN left(metadata ->> 'actor', 200) || '…'
                 || encode(sha256(replace(metadata ->> 'actor', '\', '\\')::bytea), 'hex')
            ELSE metadata ->> 'actor' END AS actor,
       category, stream_id, version, type, recorded_at, occurred_at,
       CASE WHEN length(metadata ->> 'correlation_id') > 300
            THEN left(metadata ->> 'correlation_id', 200) || '…'
                 || encode(sha256(replace(metadata ->> 'correlation_id', '\', '\\')::bytea), 'hex')
            ELSE metadata ->> 'correlation_id' END AS correlation_id,
       CASE WHEN length(metadata ->> 'causation_id') > 300
            THEN left(metadata ->> 'causation_id', 200) || '…'
                 || encode(sha256(replace(metadata ->> 'causation_id', '\', '\\')::bytea), 'hex')
            ELSE metadata ->> 'causation_id' END AS causation_id,
       CASE WHEN jsonb_typeof(metadata -> 'source') = 'string' THEN left(metadata ->> 'source', 1000) END AS source,
       CASE WHEN category = 'job' THEN
         nullif(to_tsvector('simple', left(
           CASE type
             WHEN 'queued'    THEN data ->> 'name'
             WHEN 'progress'  THEN data ->> 'message'
             WHEN 'truncated' THEN data ->> 'reason'
             WHEN 'failed'    THEN data ->> 'error'
           END, 1000)), '')
       END AS words
  FROM (
    SELECT position, event_id, category, stream_id, version, type, data, recorded_at, occurred_at,
           CASE WHEN length(metadata::text) > 2 THEN metadata::jsonb END AS metadata
      FROM new_events
    OFFSET 0  -- parses the metadata once, and not wherever they are used
  ) AS new
