import EventStore
import LedgerCore
import Postgres

/// Folds windows, each in a transaction with what records it, and finds the event where one fails.
struct FoldingSteps: Sendable {
    let fold: Fold
    /// Records in the same transaction that a window was folded, and says whether it was ours to
    /// fold.
    let record: @Sendable (_ from: Position, _ to: Position, PostgresConnection) async throws -> Bool

    enum Step: Sendable {
        case advanced(to: Position)
        /// Somebody else has moved the position.
        case overtaken
        case failed(at: Position, PostgresError)
    }

    /// Folds the events after `position` up to `limit`, or as many of them as can be: halving finds
    /// the one that cannot.
    func step(after position: Position, upTo limit: Position, on connection: PostgresConnection) async throws -> Step {
        var upTo = limit
        while true {
            do {
                let isOurs = try await connection.transaction { connection in
                    // First the record, which locks it: of two who believe in one position, one
                    // folds.
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
