import EventStore
import LedgerCore
import Postgres

/// Folds windows, each in one transaction with the record of it, and finds the event at which a
/// window fails.
struct FoldingSteps: Sendable {
    let fold: Fold
    /// Records in the window's transaction that it was folded. Returns false if another process has
    /// moved the position.
    let record: @Sendable (_ from: Position, _ to: Position, PostgresConnection) async throws -> Bool

    enum Step: Sendable {
        case advanced(to: Position)
        /// Another process has moved the position.
        case overtaken
        case failed(at: Position, PostgresError)
    }

    /// Folds the events after `position` up to `limit`, or fewer: while a window fails, it is
    /// halved, until the event that cannot be folded is found.
    func step(after position: Position, upTo limit: Position, on connection: PostgresConnection) async throws -> Step {
        var upTo = limit
        while true {
            do {
                let isOurs = try await connection.transaction { connection in
                    // The record comes first, because it locks its row: of two processes at the
                    // same position, one folds.
                    guard try await record(position, upTo, connection) else { return false }
                    try await fold.apply(after: position, upTo: upTo, on: connection)
                    return true
                }
                return isOurs ? .advanced(to: upTo) : .overtaken
            } catch let error as PostgresError where error.isOfFold && error.sqlState != .queryCancelled {
                guard upTo > position + 1 else { return .failed(at: upTo, error) }
                upTo = position + (upTo - position) / 2
            }
        }
    }
}
