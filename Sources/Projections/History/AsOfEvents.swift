/// The events that `apply.sql` reads when only a part of the log is folded, such as one job's
/// events up to a past position.
///
/// They are a temporary view with the name `new_events`. Temporary names come first in the search
/// path, so the unchanged `apply.sql` folds the past.
enum AsOfEvents {
    /// A stream's id, for conditions.
    static let stream = "stream_id"

    /// The statement that makes the view.
    /// - Parameter condition: selects events among those up to the end of the window.
    static func view(_ condition: String) -> String {
        """
        CREATE TEMPORARY VIEW new_events AS
          SELECT position, event_id, category, stream_id::text COLLATE "default" AS stream_id, version, type, data,
                 metadata, occurred_at, recorded_at, total, coalesce(occurred_at, recorded_at) AS happened_at, completed
            FROM events
           WHERE category = 'job' AND \(condition)
             AND position <= current_setting('jobledger.window_upto')::bigint
             AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[]);
        """
    }
}
