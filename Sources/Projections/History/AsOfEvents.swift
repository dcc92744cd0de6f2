/// What `apply.sql` reads when only a part of the log is folded: a temporary view of the name
/// `new_events`, which comes before the ledger's own, as temporary tables do. So the past is folded
/// by the very text that folds the present.
enum AsOfEvents {
    /// - Parameter condition: which events are meant, within the window.
    static func view(_ condition: String) -> String {
        """
        CREATE TEMPORARY VIEW new_events AS
          SELECT position, event_id, category, stream_id::text COLLATE "default" AS stream_id, version, type, data, metadata, occurred_at,
                 recorded_at, total, coalesce(occurred_at, recorded_at) AS happened_at, completed
            FROM events
           WHERE category = 'job' AND \(condition)
             AND position <= current_setting('jobledger.window_upto')::bigint
             AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[]);
        """
    }
}
