/// The events that `apply.sql` reads when only a part of the log is folded, such as one stream's
/// events up to a past position.
///
/// They are a temporary view with the name `new_events`. Temporary names come first in the search
/// path, so the unchanged `apply.sql` folds the past. They are chosen among `consumed_events`, as
/// those of the ledger's own `new_events` are.
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
            FROM consumed_events
           WHERE \(condition)
             AND position <= current_setting('jobledger.window_upto')::bigint;
        """
    }
}
