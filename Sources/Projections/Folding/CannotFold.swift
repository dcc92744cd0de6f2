import EventStore
import Foundation
import LedgerCore
import Postgres

/// An event that a definition cannot fold.
public struct CannotFold: Error, Sendable, CustomStringConvertible {
    public let projection: String
    public let position: Position
    public let event: UUID?
    public let error: String

    public var description: String {
        """
        \(projection): the event at position \(position)\(event.map { " (\($0.text))" } ?? "") cannot be folded: \(error)
        Nothing is skipped, and the tables in use stay as they are. Correct apply.sql and begin again, or leave this event out, which is recorded:
          jobledger project --skip \(projection) --position \(position) --reason "…"
        """
    }
}

/// Folds windows, each in a transaction with what records it, and finds the event where one fails.
struct FoldingSteps: Sendable {
    let fold: Fold
    /// Records in the same transaction that a window was folded, and says whether it was ours to fold.
    let record: @Sendable (_ from: Position, _ to: Position, PostgresConnection) async throws -> Bool

    enum Step: Sendable {
        case advanced(to: Position)
        /// Somebody else has moved the position.
        case overtaken
        case failed(at: Position, PostgresError)
    }

    /// Folds the events after `position` up to `limit`, or as many of them as can be: halving finds the one that cannot.
    func step(after position: Position, upTo limit: Position, on connection: PostgresConnection) async throws -> Step {
        var upTo = limit
        while true {
            do {
                let isOurs = try await connection.transaction { connection in
                    // First the record, which locks it: of two who believe in one position, one folds.
                    guard try await record(position, upTo, connection) else { return false }
                    try await fold.apply(after: position, upTo: upTo, on: connection)
                    return true
                }
                return isOurs ? .advanced(to: upTo) : .overtaken
            } catch let error as PostgresError
                where error.kind == .server && !error.isRetriable && error.sqlState != .queryCancelled
            {
                guard upTo > position + 1 else { return .failed(at: upTo, error) }
                upTo = position + (upTo - position) / 2
            }
        }
    }
}

extension PostgresConnection {
    /// The id of the event at a position.
    nonisolated func eventID(at position: Position) async throws -> UUID? {
        try await query("SELECT event_id FROM events WHERE position = $1", position).first.map { try $0.decode(0) }
    }
}
