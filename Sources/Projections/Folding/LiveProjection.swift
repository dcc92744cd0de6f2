import EventStore
package import LedgerCore
package import Postgres

/// The steps of a live projection. Each folds and moves the checkpoint in one transaction, so the
/// tables and the checkpoint always agree.
package struct LiveProjection: Sendable {
    package enum Step: Equatable, Sendable {
        case advanced(to: Position)
        /// Another process has moved the checkpoint, or replaced the definition: load the state
        /// again.
        case overtaken
        /// The event at this position cannot be folded. Everything before it is folded.
        case stopped(at: Position, error: String)
    }

    let definition: ProjectionDefinition
    let ledger: LedgerName

    package init(definition: ProjectionDefinition, ledger: LedgerName) {
        self.definition = definition
        self.ledger = ledger
    }

    var fold: Fold { Fold(definition, ledger: ledger) }

    /// Makes the tables of a projection that has never run. A projector can make nothing in the
    /// ledger's own schema, so it makes them in another, and the ledger adopts them.
    package func install(on connection: PostgresConnection) async throws {
        try await connection.transaction { connection in
            // Of two projectors that start at once, the second waits here and then finds the
            // tables.
            try await Self.lockInstallation(on: connection)
            guard try await ProjectionState.load(definition.name, on: connection) == nil else { return }
            let schema = Fold.schemaBeside(ledger, process: await connection.serverProcess)
            let fresh = Fold(definition, ledger: ledger, schema: schema)
            try await Fold.createSchema(schema, of: ledger, on: connection)
            try await fresh.createTables(on: connection)
            try await fresh.handOver(on: connection)
            try await connection.query("SELECT adopt_tables($1, $2)", schema, definition.tables)
            try await connection.execute(script: "DROP SCHEMA \"\(schema)\"")
            try await ProjectionState.register(definition, at: 0, on: connection)
        }
    }

    /// Keeps others from making or swapping tables for the rest of the transaction. This locks a
    /// table, which takes a right to it. An advisory lock could be held by anybody who may connect.
    static func lockInstallation(on connection: PostgresConnection) async throws {
        try await connection.execute(script: "LOCK TABLE rebuilds IN SHARE ROW EXCLUSIVE MODE")
    }

    /// Folds the events after `position` up to `head`. If one of them cannot be folded, all before
    /// it are, and the projection stops there.
    package func step(after position: Position, upTo head: Position, on connection: PostgresConnection) async throws
        -> Step
    {
        let definition = definition
        let steps = FoldingSteps(fold: fold) { try await ProjectionState.advance(definition, from: $0, to: $1, on: $2) }
        switch try await steps.step(after: position, upTo: head, on: connection) {
        case .advanced(let position): return .advanced(to: position)
        case .overtaken: return .overtaken
        case .failed(let position, let error):
            let isOurs = try await ProjectionState.stop(
                definition, failed: position, event: try await connection.eventID(at: position),
                error: error.description,
                on: connection)
            return isOurs ? .stopped(at: position, error: error.description) : .overtaken
        }
    }
}
