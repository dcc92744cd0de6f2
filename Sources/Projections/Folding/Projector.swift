package import EventStore
import Foundation
import LedgerCore
package import Logging
import Postgres

/// Keeps one projection up to date, for as long as its task runs.
///
/// Any number of projectors may run for the same projection: one holds the lease and works, the
/// others stand by. Errors that may pass, such as a restart of the server or a lost connection, are
/// retried. An event that cannot be folded stops this projection and no other.
package struct Projector: Sendable {
    private let store: EventStore
    private let definition: ProjectionDefinition
    private let configuration: PostgresConfiguration
    private let largestWindow: Int64
    private let lease: Lease
    private let logger: Logger
    private var live: LiveProjection { LiveProjection(definition: definition, ledger: store.ledger) }

    /// With this many events or more, a new projection's tables are loaded first and indexed
    /// afterwards.
    private static let longLog: Position = 100_000
    /// From this many windows on, what is to be folded is a backlog, and worth further sessions.
    private static let longBacklog: Int64 = 2
    /// While the projection is stopped: how often to check whether it may run again.
    private static let stopped = Duration.milliseconds(200)

    /// - Parameter window: the most events that are folded in one transaction;
    ///   ``/LedgerCore/WindowSize/standard`` unless given.
    package init(
        _ definition: ProjectionDefinition, store: EventStore, url: String, window: Int? = nil,
        leaseTimes: LeaseTimes = .standard, logger: Logger
    ) {
        self.definition = definition
        self.store = store
        largestWindow = Int64(window ?? WindowSize.standard)
        var configuration = EventStore.configuration(
            url: url, ledger: store.ledger, applicationName: "jobledger projector \(definition.name) \(store.ledger)",
            writes: true)
        // A crash takes back the fold and the checkpoint together, and the events are folded again.
        // So a commit need not wait for the disk.
        configuration.sessionSettings.append(("synchronous_commit", "off"))
        self.configuration = configuration
        lease = Lease("projection:\(definition.name)", holder: UUID.version7().text, times: leaseTimes)
        var logger = logger
        logger[metadataKey: "projection"] = "\(definition.name)"
        self.logger = logger
    }

    /// Runs until the task is cancelled.
    package func run() async {
        var replacement = Replacement.undecided
        var window = AdaptiveWindow(largest: largestWindow)
        await LeasedWork(lease, on: configuration, longestPause: .seconds(5), logger: logger).run { connection in
            try await connection.endStatementsOfLostClients()
            try await replacement.decide(definition, on: connection)
        } work: { connection, succeeded in
            if try await isToBeLoaded(on: connection) {
                try await load(on: connection)
                guard try await lease.take(on: connection) else { return }
            }
            try await live.install(on: connection)
            if replacement == .due {
                try await replace(on: connection)
                replacement = .done
                // The rebuild may have outlasted the lease.
                guard try await lease.take(on: connection) else { return }
            }
            try await hold(&window, on: connection, succeeded: succeeded)
        }
    }

    /// Folds until the lease is lost.
    private func hold(_ window: inout AdaptiveWindow, on connection: PostgresConnection, succeeded: () -> Void)
        async throws
    {
        var state = try await ownState(on: connection)
        var pipeline = PipelinedFold(live.fold)
        /// The event that stopped the projection. From then on only an outside change lets it run.
        var stoppedAt: Position?
        var renewed = ContinuousClock.now
        while true {
            if renewed.duration(to: .now) >= lease.times.renewal {
                guard try await lease.take(on: connection) else { return }
                renewed = .now
                state = try await ownState(on: connection)
                if state.stopped == nil { stoppedAt = nil }
            }
            if stoppedAt != nil {
                try await Task.sleep(for: Self.stopped)
                continue
            }
            let head = try await connection.awaitDurableEvents(after: state.position, every: .milliseconds(5))
            guard head > state.position else { continue }
            if let backlog = pipeline, head - state.position >= Self.longBacklog * window.size {
                if try await !foldBacklog(backlog, &state, upTo: head, &window, on: connection, succeeded) {
                    pipeline = nil
                }
                continue
            }
            let start = ContinuousClock.now
            let upTo = min(head, state.position + window.size)
            switch try await step(after: state.position, upTo: upTo, &window, on: connection) {
            case .advanced(let position):
                window.folded(position - state.position, in: start.duration(to: .now))
                state.position = position
                succeeded()
            case .overtaken:
                state = try await ownState(on: connection)
            case .stopped(let position, let error):
                stoppedAt = position
                state = try await ownState(on: connection)
                logger.error(
                    """
                    stopped: the event at position \(position) cannot be folded. Nothing is skipped. Correct apply.sql \
                    and start the projector again (a changed definition is rebuilt automatically), or correct what it \
                    depends on and run: jobledger project --retry \(definition.name); or skip the event, which is \
                    recorded: jobledger project --skip \(definition.name) --position \(position) --reason "…"
                    """,
                    metadata: [
                        "position": "\(position)", "event": "\(state.stopped?.event?.text ?? "")", "error": "\(error)",
                    ])
            }
        }
    }

    /// Folds the events up to `head` by two more sessions, and renews the lease meanwhile.
    /// - Returns: whether that is a way to fold this projection's events. If it is not, one window
    ///   after the other finds the reason, or does better.
    private func foldBacklog(
        _ pipeline: PipelinedFold, _ state: inout ProjectionState, upTo head: Position, _ window: inout AdaptiveWindow,
        on connection: PostgresConnection, _ succeeded: () -> Void
    ) async throws -> Bool {
        let start = state.position
        do {
            let outcome = try await lease.renewed(beside: connection, logger: logger) {
                try await pipeline.run(after: start, upTo: head, &window, beside: connection) { position in
                    state.position = position
                    succeeded()
                }
            }
            switch outcome {
            case .finished: return true
            case .overtaken: state = try await ownState(on: connection)
            case .impossible: logger.warning("prepare.sql reads more than events, and is not run ahead of apply.sql")
            }
        } catch let error as PostgresError where error.kind == .timedOut {
            window.timedOut()
            throw error
        } catch let error as PostgresError where error.isOfFold {
            logger.debug("going on window by window", metadata: ["error": "\(error)"])
            state = try await ownState(on: connection)
        }
        return false
    }

    /// Folds one window, and renews the lease meanwhile, however long that takes. A window that
    /// timed out is tried again with half as many events.
    private func step(
        after position: Position, upTo head: Position, _ window: inout AdaptiveWindow, on connection: PostgresConnection
    ) async throws -> LiveProjection.Step {
        do {
            return try await lease.renewed(beside: connection, logger: logger) {
                try await live.step(after: position, upTo: head, on: connection)
            }
        } catch let error as PostgresError where error.kind == .timedOut {
            window.timedOut()
            throw error
        }
    }

    /// The projection's row. Throws if another process has installed another definition: this one
    /// must not change it back.
    private func ownState(on connection: PostgresConnection) async throws -> ProjectionState {
        guard let state = try await ProjectionState.load(definition.name, on: connection),
            state.definition == definition.hash
        else {
            throw ProjectionReplaced(name: definition.name)
        }
        return state
    }

    /// Whether the tables should be loaded as a rebuild loads them: the projection has never run,
    /// the log is long, and its jobs can be folded in parallel. Without parallel folding, loading
    /// gains nothing.
    private func isToBeLoaded(on connection: PostgresConnection) async throws -> Bool {
        guard definition.key == .stream, try await ProjectionState.load(definition.name, on: connection) == nil else {
            return false
        }
        return try await connection.headOfLog() >= Self.longLog
    }

    /// Makes the tables as a rebuild does: two connections load them, then they are indexed.
    /// Readers see them when they are complete. If an event cannot be folded, the live projection
    /// starts from the beginning and stops before that event.
    private func load(on connection: PostgresConnection) async throws {
        logger.notice("first run on a long log: the tables are loaded first, and appear when they are complete")
        do {
            let receipt = try await rebuild(workers: 2, on: connection)
            logger.notice("loaded", metadata: ["position": "\(receipt.position)", "digest": "\(receipt.digest)"])
        } catch let error as FoldFailure {
            logger.notice(
                "an event cannot be folded: going on event by event", metadata: ["position": "\(error.position)"])
            _ = try await Rebuild.cancel(definition.name, ledger: store.ledger, on: connection)
        }
    }

    /// Rebuilds beside the live tables, which readers keep using meanwhile.
    private func replace(on connection: PostgresConnection) async throws {
        logger.notice("the definition has changed: rebuilding beside the live tables")
        let receipt = try await rebuild(workers: 1, on: connection)
        for index in receipt.notCarried {
            logger.warning("an index was not carried over", metadata: ["index": "\(index)"])
        }
        logger.notice(
            "rebuilt; the replaced tables are kept: rebuild --undo brings them back, --drop-old drops them",
            metadata: [
                "position": "\(receipt.position)", "digest": "\(receipt.digest)",
                "blocked_ms": "\(receipt.blocked / .milliseconds(1))",
            ])
    }

    /// Rebuilds while the lease is kept, so that standby projectors do not try as well.
    private func rebuild(workers: Int, on connection: PostgresConnection) async throws -> Rebuild.Receipt {
        let logger = logger
        let rebuild = Rebuild(definition, ledger: store.ledger, window: Int(largestWindow), workers: workers) { phase in
            logger.debug("rebuilding", metadata: ["phase": "\(phase)"])
        }
        let receipt = try await withThrowingTaskGroup(of: Rebuild.Receipt?.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await connection.withAnother { try await rebuild.run(on: $0) }
            }
            group.addTask {
                // If the lease is lost all the same, its next holder finds this rebuild busy, and
                // waits.
                while true {
                    try await Task.sleep(for: lease.times.renewal)
                    _ = try await lease.take(on: connection)
                }
            }
            return try await group.next() ?? nil
        }
        guard let receipt else { throw CancellationError() }
        return receipt
    }
}

/// Whether this process replaces the definition that it found at its start. It does so once, when
/// it gets the lease. A new version therefore waits until the old one is gone; an old one whose
/// definition was replaced stands by instead of changing it back.
private enum Replacement {
    case undecided, due, done

    mutating func decide(_ definition: ProjectionDefinition, on connection: PostgresConnection) async throws {
        guard self == .undecided else { return }
        let found = try await ProjectionState.load(definition.name, on: connection)
        self = found != nil && found?.definition != definition.hash ? .due : .done
    }
}

/// Two programs with different definitions of one projection run against one ledger.
struct ProjectionReplaced: Error, CustomStringConvertible {
    let name: String
    var description: String {
        "another process has installed another definition of \(name); standing by (run one version only)"
    }
}
