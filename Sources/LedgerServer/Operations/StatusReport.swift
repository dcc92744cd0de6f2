package import LedgerCore

/// How far each part of a ledger has come: what `jobledger status` and `GET /v1/status` say.
package struct StatusReport: Encodable, Sendable {
    package struct Reader: Encodable, Sendable {
        package var position: Position
        package var lag: Position
        /// Whether a process holds the reader's lease.
        package var active: Bool
        /// When the first event that it has not processed was recorded; missing if there is none.
        package var oldestUnfoldedAt: String?
    }

    package struct Projection: Encodable, Sendable {
        package var name: String
        package var position: Position
        package var lag: Position
        package var state: String
        package var active: Bool
        /// When the first event that it has not folded was recorded; missing if there is none.
        package var oldestUnfoldedAt: String?
        package var error: String?
        package var failedPosition: Position?
        package var failedEvent: String?
        /// The result of refolding a sample of jobs.
        package var driftChecks: Drift?
    }

    package struct Drift: Encodable, Sendable {
        package var jobs: Int64
        package var drifted: Int64
        package var checkedAt: String
    }

    package struct Rebuild: Encodable, Sendable {
        package var projection: String
        package var position: Position
        package var goal: Position
        /// Whether a process works on it.
        package var active: Bool
        package var startedAt: String
        package var startedBy: String
        /// Positions a second since it began, pauses included; missing where no process works on
        /// it.
        package var rate: Double?
        /// At that rate; missing where it is past its goal, or the rate is not known.
        package var secondsLeft: Double?
        package var error: String?
        package var failedPosition: Position?
        package var failedEvent: String?
    }

    package struct Seal: Encodable, Sendable {
        /// The last sealed position.
        package var position: Position
        package var lag: Position
        package var state: String
        package var active: Bool
        /// When the first event that is not sealed was recorded; missing if there is none.
        package var oldestUnfoldedAt: String?
        package var error: String?
    }

    /// What the service that answers knows of its own streams, since it started.
    package struct Streams: Encodable, Sendable {
        /// Event streams that are open.
        package var open: Int
        /// How often a stream found that events were missing, and how many it read from the log.
        package var gapsDetected: Int
        package var refilledEvents: Int
        /// Messages from Redis that had no valid code.
        package var messagesRejected: Int
    }

    /// The session or prepared transaction that holds the lock of the log.
    package struct Holder: Encodable, Sendable {
        package var by: String
        package var process: Int32?
        package var preparedAs: String?
        package var user: String
        package var application: String?
        /// Missing where the ledger's owner may not see it, and nobody waits yet.
        package var heldSeconds: Int?
        package var waiting: Int64
    }

    package struct Epoch: Encodable, Sendable {
        package var epoch: String
        package var firstPosition: Position
        package var beganAt: String
        package var reason: String
    }

    /// Positions that a reader had, and whose events are gone.
    package struct Loss: Encodable, Sendable {
        package var reader: String
        package var place: String
        package var shared: Position
        package var notedAt: String
    }

    package var head: Position
    /// Events a second over the last minute; missing while the log's times are ahead of the clock.
    package var appendRate: Double?
    /// The last position that has the level which the ledger demands; missing if that could not
    /// be found out.
    package var durable: Position?
    package var durability: String
    /// What the server waits for, as `synchronous_standby_names` has it.
    package var standbys: String
    package var role: String
    package var timeline: String?
    package var epoch: String
    /// All epochs, the present one last.
    package var epochs: [Epoch]
    /// The known losses, the newest first, and how many events they are.
    package var losses: [Loss]
    package var lostEvents: Int64
    /// How far the time of the last event is ahead of the server's clock.
    package var clockAheadSeconds: Int
    package var holder: Holder?
    package var relay: Reader
    package var projections: [Projection]
    /// Rebuilds that were begun and are not finished.
    package var rebuilds: [Rebuild]
    package var seal: Seal
    /// Missing where no service answers.
    package var streams: Streams?

    /// Whether an error has stopped the seal, a projection or a rebuild.
    package var isStopped: Bool {
        seal.error != nil || projections.contains { $0.error != nil } || rebuilds.contains { $0.error != nil }
    }
}
