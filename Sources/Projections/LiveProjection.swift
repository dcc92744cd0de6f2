import EventStore
import LedgerCore
import Postgres

/// The steps of a live projection, each in one transaction with the checkpoint: what was folded and how far are never apart.
public struct LiveProjection: Sendable {
    public enum Step: Equatable, Sendable {
        case advanced(to: Position)
        /// Somebody else has moved the checkpoint, or replaced the definition: look again.
        case overtaken
        /// The event at this position cannot be folded. Everything before it is.
        case stopped(at: Position, error: String)
    }

    let definition: ProjectionDefinition
    let ledger: LedgerName

    public init(definition: ProjectionDefinition, ledger: LedgerName) {
        self.definition = definition
        self.ledger = ledger
    }

    private var fold: Fold { Fold(definition, ledger: ledger) }

    /// Makes the tables where the projection has never run.
    public func install(on connection: PostgresConnection) async throws {
        try await connection.transaction { connection in
            // Of two projectors that start at once, the second waits here and then finds everything made.
            try await lockInstallation(on: connection)
            guard try await ProjectionState.load(definition.name, on: connection) == nil else { return }
            try await fold.createTables(on: connection)
            try await fold.grantToReaders(on: connection)
            try await ProjectionState.register(definition, at: 0, on: connection)
        }
    }

    /// For the rest of the transaction nobody else makes the tables, or swaps them.
    func lockInstallation(on connection: PostgresConnection) async throws {
        try await connection.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", "\(ledger.text).\(definition.name)")
    }

    /// Folds the events after `position` up to `head`. An event that cannot be folded is found by halving, so that all before it are.
    public func step(after position: Position, upTo head: Position, on connection: PostgresConnection) async throws -> Step {
        var upTo = head
        while true {
            do {
                let isOurs = try await connection.transaction { connection in
                    guard let state = try await ProjectionState.lock(definition.name, on: connection),
                        state.position == position, state.definition == definition.hash
                    else { return false }
                    try await fold.apply(after: position, upTo: upTo, on: connection)
                    return try await ProjectionState.advance(definition, from: position, to: upTo, on: connection)
                }
                return isOurs ? .advanced(to: upTo) : .overtaken
            } catch let error as PostgresError
                where error.kind == .server && !error.isRetriable && error.sqlState != .queryCancelled
            {
                guard upTo > position + 1 else {
                    let isOurs = try await ProjectionState.stop(
                        definition, failed: upTo, error: error.description, on: connection)
                    return isOurs ? .stopped(at: upTo, error: error.description) : .overtaken
                }
                upTo = position + (upTo - position) / 2
            }
        }
    }
}
