import EventStore
import LedgerCore
import Postgres

/// Folds a long backlog by two sessions: while one applies a window, the other prepares the next.
///
/// Each window is a transaction as usual, and windows are applied in their order, one by one. Only
/// `prepare.sql` runs early. It reads events alone, so its rows are the same whenever it runs.
struct PipelinedFold: Sendable {
    private let fold: Fold
    private let preparation: Preparation

    /// Events that are prepared but not applied yet.
    private struct Window {
        let after: Position
        let upTo: Position

        /// `nil` if there are no events left.
        init?(after: Position, upTo head: Position, atMost size: Int64) {
            guard after < head else { return nil }
            self.after = after
            upTo = min(head, after + size)
        }
    }

    enum Outcome: Sendable {
        /// Everything up to the wanted position is folded.
        case finished
        /// Another process has moved the position, or an event was skipped meanwhile.
        case overtaken
        /// `prepare.sql` reads more than events, so it must not run early.
        case impossible
    }

    /// `nil` if the projection has no `prepare.sql`.
    init?(_ fold: Fold) {
        guard let preparation = fold.definition.preparation else { return nil }
        self.fold = fold
        self.preparation = preparation
    }

    /// A window is kept in memory until it is applied, as far as this reaches.
    private static let memory = "64MB"

    /// Folds the events after `start` up to `head`.
    /// - Parameters:
    ///   - window: the size of the windows, adapted to the time that they take.
    ///   - connection: two others like it are opened, and closed in the end.
    ///   - advanced: called with the position of each window that is folded.
    /// - Throws: also if an event cannot be folded. The windows before are folded then, and this
    ///   one is not.
    func run(
        after start: Position, upTo head: Position, _ window: inout AdaptiveWindow,
        beside connection: PostgresConnection, advanced: (Position) -> Void
    ) async throws -> Outcome {
        try await connection.withAnother { first in
            try await connection.withAnother { second in
                try await run(after: start, upTo: head, &window, by: (first, second), advanced)
            }
        }
    }

    private func run(
        after start: Position, upTo head: Position, _ window: inout AdaptiveWindow,
        by sessions: (PostgresConnection, PostgresConnection), _ advanced: (Position) -> Void
    ) async throws -> Outcome {
        for session in [sessions.0, sessions.1] {
            try await session.endStatementsOfLostClients()
            try await session.execute(script: "SET temp_buffers = '\(Self.memory)'")
        }
        let isPossible = try await sessions.0.discardedTransaction {
            try await fold.readsEventsAlone(preparation, on: $0)
        }
        guard isPossible else { return .impossible }

        var (current, other) = sessions
        var prepared = try await prepare(Window(after: start, upTo: head, atMost: window.size), on: current)
        while let one = prepared {
            let (began, free) = (ContinuousClock.now, other)
            let following = Window(after: one.upTo, upTo: head, atMost: window.size)
            async let next = prepare(following, on: free)
            guard try await apply(one, on: current) else { return .overtaken }
            advanced(one.upTo)
            prepared = try await next
            window.folded(one.upTo - one.after, in: began.duration(to: .now))
            (current, other) = (free, current)
        }
        return .finished
    }

    /// Begins the transaction of a window.
    private func prepare(_ window: Window?, on session: PostgresConnection) async throws -> Window? {
        guard let window else { return nil }
        try await session.openTransaction()
        try await fold.prepare(preparation, after: window.after, upTo: window.upTo, on: session)
        return window
    }

    /// Ends the transaction of a window. False if it must be folded in another way.
    private func apply(_ window: Window, on session: PostgresConnection) async throws -> Bool {
        let definition = fold.definition
        // The record comes first, because it locks its row.
        guard try await ProjectionState.advance(definition, from: window.after, to: window.upTo, on: session),
            try await SkippedEvents.positions(of: definition, after: window.after, upTo: window.upTo, on: session)
                .isEmpty
        else { return false }
        try await fold.applyPrepared(preparation, on: session)
        try await session.commitOpenTransaction()
        return true
    }
}
