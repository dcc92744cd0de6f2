/// The events that `apply.sql` reads when only a part of the log is folded, such as one job's
/// events up to a past position.
///
/// They are a temporary view with the name `new_events`. Temporary names come first in the search
/// path, so the unchanged `apply.sql` folds the past. The columns are those of `foldable_events`,
/// from which the ledger's own `new_events` selects too.
enum AsOfEvents {
    /// A stream's id under the collation of the log, for conditions. Under the collation that
    /// projections see, a condition could not use the log's index.
    static let stream = #"stream_id COLLATE "C""#

    /// The statement that makes the view.
    /// - Parameter condition: selects events among those up to the end of the window.
    static func view(_ condition: String) -> String {
        """
        CREATE TEMPORARY VIEW new_events AS
          SELECT *
            FROM foldable_events
           WHERE category = 'job' AND \(condition)
             AND position <= current_setting('jobledger.window_upto')::bigint
             AND type = ANY ((SELECT string_to_array(current_setting('jobledger.window_types'), ','))::text[]);
        """
    }
}
