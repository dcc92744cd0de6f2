import EventStore
package import Foundation
package import LedgerCore
import Postgres

/// An event that a definition cannot fold.
package struct FoldFailure: Error, Sendable, CustomStringConvertible {
    package let projection: String
    package let position: Position
    package let event: UUID?
    package let error: String

    package var description: String {
        """
        \(projection): the event at position \(position)\(event.map { " (\($0.text))" } ?? "") cannot be folded: \
        \(error)
        Nothing is skipped, and the tables in use stay as they are. Correct apply.sql and start again, or skip this \
        event, which is recorded:
          jobledger project --skip \(projection) --position \(position) --reason "…"
        """
    }
}
