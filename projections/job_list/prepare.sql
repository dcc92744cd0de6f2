-- Groups new_events by job and by each 32 versions of it, as job_list_marks needs them.
--
-- A job has at most one queued and one ending event, so min() over that one value picks it. Results
-- may be large and are not wanted, so ending data are not parsed into jsonb. Of the first progress
-- both the position and the time are wanted: min() of arrays compares the positions, which come
-- first. The time is in microseconds.

SELECT stream_id AS id,
       (version - 1) / 32                                                          AS part,
       min(data::text)     FILTER (WHERE type = 'queued')                          AS queued,
       min(metadata::text) FILTER (WHERE type = 'queued')                          AS metadata,
       min(data ->> 'view_url') FILTER (WHERE type = 'finished')                   AS view_url,
       min(data ->> 'csv_url')  FILTER (WHERE type = 'finished')                   AS csv_url,
       min(data ->> 'error')    FILTER (WHERE type = 'failed')                     AS error,
       max(type)           FILTER (WHERE type IN ('finished', 'failed'))           AS end_status,

       max(completed)                                                              AS completed,
       -- The total after the last version: one number of both, with the total in its lower half.
       max(version::bigint << 32 | total)                                          AS version_and_total,

       min(happened_at)    FILTER (WHERE type = 'queued') AT TIME ZONE 'UTC'       AS created_at,
       min(ARRAY[position, (extract(epoch FROM happened_at AT TIME ZONE 'UTC') * 1000000)::bigint])
                           FILTER (WHERE type = 'progress')                        AS started,
       max(happened_at) AT TIME ZONE 'UTC'                                         AS updated_at,
       min(happened_at)    FILTER (WHERE type IN ('finished', 'failed')) AT TIME ZONE 'UTC' AS completed_at,

       min(position)       FILTER (WHERE type = 'queued')                          AS queued_position,
       min(position)       FILTER (WHERE type = 'truncated')                       AS truncated_position,
       min(position)       FILTER (WHERE type IN ('finished', 'failed'))           AS ended_position,
       min(position)       FILTER (WHERE version % 32 = 0)                         AS marked_position,

       max(position)                                                               AS last_position,
       max(recorded_at) AT TIME ZONE 'UTC'                                         AS last_recorded_at
  FROM new_events
 GROUP BY stream_id, (version - 1) / 32
