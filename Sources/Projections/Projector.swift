import EventStore
import Foundation
import LedgerCore
import Logging
import Postgres

/// Keeps one projection up to date, for as long as its task runs.
///
/// Any number of them may run for the same projection: one holds the lease and works, the others stand by. Errors that time may
/// mend (a server that restarts, a lost connection) are waited out; an event that cannot be folded stops this projection and no other.
public struct Projector: Sendable {
    private let store: EventStore
    private let definition: ProjectionDefinition
    private let configuration: PostgresConfiguration
    private let window: Int64
    private let lease: Lease
    private let logger: Logger
    private var live: LiveProjection { LiveProjection(definition: definition, ledger: store.ledger) }

    /// How long to wait before looking for new events again.
    private static let idle = Duration.milliseconds(20)

    /// - Parameter window: the most events that are folded in one transaction.
    public init(_ definition: ProjectionDefinition, store: EventStore, url: String, window: Int = 10_000, logger: Logger) {
        self.definition = definition
        self.store = store
        self.window = Int64(window)
        configuration = EventStore.configuration(
            url: url, ledger: store.ledger, applicationName: "jobledger projector \(definition.name) \(store.ledger)")
        lease = Lease("projection:\(definition.name)", holder: UUID.version7().text)
        var logger = logger
        logger[metadataKey: "projection"] = "\(definition.name)"
        self.logger = logger
    }

    /// Runs until the task is cancelled.
    public func run() async {
        var replacement = Replacement.undecided
        await LeasedWork(lease, on: configuration, longestPause: .seconds(5), logger: logger).run { connection in
            try await replacement.decide(definition, on: connection)
        } work: { connection, succeeded in
            try await live.install(on: connection)
            if replacement == .due {
                try await replace(on: connection)
                replacement = .done
                // That may have taken longer than the lease lasts.
                guard try await lease.take(on: connection) else { return }
            }
            try await hold(on: connection, succeeded: succeeded)
        }
    }

    /// Projects until the lease is lost.
    private func hold(on connection: PostgresConnection, succeeded: () -> Void) async throws {
        var state = try await ProjectionState.load(definition.name, on: connection)
        /// The event that stopped us; from then on only a change from outside sets us going again.
        var stoppedAt: Position?
        var renewed = ContinuousClock.now
        while true {
            if renewed.duration(to: .now) >= Lease.renewal {
                guard try await lease.take(on: connection) else { return }
                renewed = .now
                state = try await ProjectionState.load(definition.name, on: connection)
                if state?.stopped == nil { stoppedAt = nil }
            }
            guard let current = state, current.definition == definition.hash else {
                // Another process runs another definition of this projection. It is not ours to change back.
                throw ProjectionReplaced(name: definition.name)
            }
            let head: Position = try await connection.query("SELECT head()").only().decode(0)
            guard head > current.position, stoppedAt == nil else {
                try await Task.sleep(for: Self.idle)
                continue
            }
            switch try await live.step(after: current.position, upTo: min(head, current.position + window), on: connection) {
            case .advanced, .overtaken:
                succeeded()
            case .stopped(let position, let error):
                stoppedAt = position
                logger.error(
                    """
                    stopped: the event at position \(position) cannot be folded. Nothing is skipped. Correct apply.sql (a changed \
                    definition is rebuilt by itself) or what it depends on, then start the projector again or run: \
                    jobledger rebuild \(definition.name)
                    """, metadata: ["position": "\(position)", "error": "\(error)"])
            }
            state = try await ProjectionState.load(definition.name, on: connection)
        }
    }

    private func replace(on connection: PostgresConnection) async throws {
        logger.notice("the definition has changed: rebuilding beside the tables in use")
        // Should the lease run out meanwhile, whoever takes it finds this rebuild busy, and waits.
        let receipt = try await Rebuild(definition, ledger: store.ledger, window: Int(window)).run(on: connection)
        logger.notice("rebuilt", metadata: ["position": "\(receipt.position)", "digest": "\(receipt.digest)"])
    }
}

/// Whether this process puts its definition in the place of the one it found when it started. It does so once, when it gets the lease: a
/// new version waits until the old one has gone, and an old one whose definition was replaced stands by instead of changing it back.
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
    var description: String { "another process has installed another definition of \(name); standing by (run one version only)" }
}
