package import EventStore
import Foundation
import LedgerCore
package import Logging
import Postgres

/// Keeps one projection up to date, for as long as its task runs.
///
/// Any number of them may run for the same projection: one holds the lease and works, the others
/// stand by. Errors that time may mend (a server that restarts, a lost connection) are waited out;
/// an event that cannot be folded stops this projection and no other.
package struct Projector: Sendable {
    private let store: EventStore
    private let definition: ProjectionDefinition
    private let configuration: PostgresConfiguration
    private let largestWindow: Int64
    private let lease: Lease
    private let logger: Logger
    private var live: LiveProjection { LiveProjection(definition: definition, ledger: store.ledger) }

    /// From how many events on tables are loaded before they have their indexes.
    private static let longLog: Position = 100_000
    /// While it is stopped: how long to wait before looking again whether somebody has set it
    /// going.
    private static let stopped = Duration.milliseconds(200)

    /// - Parameter window: the most events that are folded in one transaction.
    package init(
        _ definition: ProjectionDefinition, store: EventStore, url: String, window: Int = 100_000, logger: Logger
    ) {
        self.definition = definition
        self.store = store
        largestWindow = Int64(window)
        var configuration = EventStore.configuration(
            url: url, ledger: store.ledger, applicationName: "jobledger projector \(definition.name) \(store.ledger)")
        // What a crash takes back, it takes back together with the checkpoint, and it is folded
        // again: no need to wait for the disk.
        configuration.sessionSettings.append(("synchronous_commit", "off"))
        self.configuration = configuration
        lease = Lease("projection:\(definition.name)", holder: UUID.version7().text)
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
                // That may have taken longer than the lease lasts.
                guard try await lease.take(on: connection) else { return }
            }
            try await hold(&window, on: connection, succeeded: succeeded)
        }
    }

    /// Projects until the lease is lost.
    private func hold(_ window: inout AdaptiveWindow, on connection: PostgresConnection, succeeded: () -> Void)
        async throws
    {
        var state = try await ownState(on: connection)
        /// The event that stopped us; from then on only a change from outside sets us going again.
        var stoppedAt: Position?
        var renewed = ContinuousClock.now
        while true {
            if renewed.duration(to: .now) >= Lease.renewal {
                guard try await lease.take(on: connection) else { return }
                renewed = .now
                state = try await ownState(on: connection)
                if state.stopped == nil { stoppedAt = nil }
            }
            if stoppedAt != nil {
                try await Task.sleep(for: Self.stopped)
                continue
            }
            let head: Position = try await connection.query(
                "SELECT await_events($1, '200 ms', '5 ms')", state.position
            ).only().decode(0)
            guard head > state.position else { continue }
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
                    stopped: the event at position \(position) cannot be folded. Nothing is skipped. Correct apply.sql and start the \
                    projector again (a changed definition is rebuilt by itself), or correct what it depends on and run: jobledger project \
                    --retry \(definition.name); or leave the event out, which is recorded: jobledger project --skip \(definition.name) \
                    --position \(position) --reason "…"
                    """,
                    metadata: [
                        "position": "\(position)", "event": "\(state.stopped?.event?.text ?? "")", "error": "\(error)",
                    ])
            }
        }
    }

    /// One step, for which the lease is held however long it takes. A window that was given up for
    /// taking too long is tried again as a smaller one.
    private func step(
        after position: Position, upTo head: Position, _ window: inout AdaptiveWindow, on connection: PostgresConnection
    ) async throws -> LiveProjection.Step {
        do {
            return try await lease.renewed(beside: connection, logger: logger) {
                try await live.step(after: position, upTo: head, on: connection)
            }
        } catch let error as PostgresError where error.kind == .timedOut {
            window.gaveUp()
            throw error
        }
    }

    /// Where the projection stands. Throws where another process runs another definition of it,
    /// which is not ours to change back.
    private func ownState(on connection: PostgresConnection) async throws -> ProjectionState {
        guard let state = try await ProjectionState.load(definition.name, on: connection),
            state.definition == definition.hash
        else {
            throw ProjectionReplaced(name: definition.name)
        }
        return state
    }

    /// Whether the projection has never run, the log is long, and its jobs may be folded apart.
    /// Where they may not, loading gains nothing.
    private func isToBeLoaded(on connection: PostgresConnection) async throws -> Bool {
        guard definition.key == .stream, try await ProjectionState.load(definition.name, on: connection) == nil else {
            return false
        }
        return try await connection.query("SELECT head()").only().decode(0, as: Position.self) >= Self.longLog
    }

    /// Makes the tables as a rebuild does: loaded by two connections, then indexed, and seen when
    /// they are whole. An event that cannot be folded is left to the live projection, which stops
    /// before it.
    private func load(on connection: PostgresConnection) async throws {
        logger.notice(
            "it has never run, and the log is long: its tables are loaded first, and are there when they are whole")
        do {
            let receipt = try await rebuild(workers: 2, on: connection)
            logger.notice("loaded", metadata: ["position": "\(receipt.position)", "digest": "\(receipt.digest)"])
        } catch let error as FoldFailure {
            logger.notice(
                "an event cannot be folded: going on event by event", metadata: ["position": "\(error.position)"])
            _ = try await Rebuild.cancel(definition.name, ledger: store.ledger, on: connection)
        }
    }

    /// Rebuilds beside the tables in use, which stay where they are meanwhile.
    private func replace(on connection: PostgresConnection) async throws {
        logger.notice("the definition has changed: rebuilding beside the tables in use")
        let receipt = try await rebuild(workers: 1, on: connection)
        for index in receipt.notCarried {
            logger.warning("an index was not carried over", metadata: ["index": "\(index)"])
        }
        logger.notice(
            "rebuilt; the tables from before are kept aside: rebuild --undo or --drop-old",
            metadata: [
                "position": "\(receipt.position)", "digest": "\(receipt.digest)",
                "blocked_ms": "\(receipt.blocked / .milliseconds(1))",
            ])
    }

    /// The lease is kept: who stands by need not try as well.
    private func rebuild(workers: Int, on connection: PostgresConnection) async throws -> Rebuild.Receipt {
        let logger = logger
        let rebuild = Rebuild(definition, ledger: store.ledger, window: Int(largestWindow), workers: workers) { phase in
            logger.debug("rebuilding", metadata: ["phase": "\(phase)"])
        }
        let receipt = try await withThrowingTaskGroup(of: Rebuild.Receipt?.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                let own = try await connection.another()
                do {
                    let receipt = try await rebuild.run(on: own)
                    await own.close()
                    return receipt
                } catch {
                    await own.close()
                    throw error
                }
            }
            group.addTask {
                // Should it be lost all the same, whoever takes it finds this rebuild busy, and
                // waits.
                while true {
                    try await Task.sleep(for: Lease.renewal)
                    _ = try await lease.take(on: connection)
                }
            }
            return try await group.next() ?? nil
        }
        guard let receipt else { throw CancellationError() }
        return receipt
    }
}

/// Whether this process puts its definition in the place of the one it found when it started. It
/// does so once, when it gets the lease: a new version waits until the old one has gone, and an old
/// one whose definition was replaced stands by instead of changing it back.
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
