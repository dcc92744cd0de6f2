package import EventStore
import Foundation
package import LedgerCore
package import Logging
import Postgres
package import TransparencyLog

/// Seals the log: adds the appended events to the Merkle tree and signs the head of the tree.
///
/// Any number of sealers may run. One holds the lease and works, the others stand by. Tiles and
/// checkpoint commit in one transaction, by compare-and-swap on the size of the tree. If the log is
/// not what this key has signed before, the sealer stops and says why: see ``SealStopped``.
package struct Sealer: Sendable {
    let key: SealKey
    let record: SealerRecord
    /// The key that sealed before the ledger lost events; `nil` unless this one is to follow it.
    private let ended: EndedSeal?
    private let configuration: PostgresConfiguration
    private let interval: Duration
    private let window: Int64
    private let lease: Lease
    private let demand = DurabilityDemand()
    let logger: Logger

    /// The name of the lease.
    package static let lease = "sealer"
    /// The most events between two checkpoints of a sealer that is behind.
    static let largestWindow: Int64 = 65_536
    /// How long the server waits for events.
    private static let timeout = Duration.milliseconds(200)
    /// How long a stopped sealer waits before it checks again whether the reason is gone.
    private static let stoppedPause = Duration.seconds(1)

    /// - Parameters:
    ///   - interval: the shortest time between two checkpoints of a sealer that is not behind.
    ///   - window: the most events between two checkpoints.
    ///   - ended: the key that sealed before the ledger lost events. It signs where its history
    ///     ends, and that this key goes on.
    package init(
        key: SealKey, record: SealerRecord, url: String, ledger: LedgerName, interval: Duration = .seconds(1),
        window: Int = 65_536, leaseTimes: LeaseTimes = .standard, afterLossOf ended: EndedSeal? = nil, logger: Logger
    ) {
        self.key = key
        self.record = record
        self.ended = ended
        self.interval = interval
        self.window = Int64(window)
        self.logger = logger
        lease = Lease(Self.lease, holder: UUID.version7().text, times: leaseTimes)
        configuration = EventStore.configuration(
            url: url, ledger: ledger, applicationName: "jobledger sealer \(ledger)", writes: true)
    }

    /// Runs until the task is cancelled.
    package func run() async {
        await LeasedWork(lease, on: configuration, longestPause: .seconds(5), logger: logger).run {
            connection, succeeded in
            var reason: String?
            while true {
                do {
                    try await sealWhileLeased(on: connection) {
                        reason = nil
                        succeeded()
                    }
                    return
                } catch let stop as SealStopped {
                    if stop.description != reason {
                        logger.error("sealing has stopped", metadata: ["reason": "\(stop)"])
                        reason = stop.description
                    }
                    try await connection.query("SELECT stop_seal($1)", stop.description)
                }
                try await Task.sleep(for: Self.stoppedPause)
                guard try await lease.take(on: connection) else { return }
            }
        }
    }

    /// Seals the events that the log has now.
    /// - Returns: the position at which the log ends.
    /// - Throws: ``SealStopped``
    package func sealUntilHead() async throws -> Position {
        let connection = try await PostgresConnection.connect(configuration, timeout: .seconds(5))
        do {
            guard try await lease.take(on: connection) else {
                throw SealStopped("another sealer is at work; it seals what is there")
            }
            let head = try await connection.durableHead()
            while case let size = try await sealWhileLeased(on: connection, upTo: head), size < head {}
            await lease.giveUp(on: connection)
            await connection.close()
            return head
        } catch {
            await lease.giveUp(on: connection)
            await connection.close()
            throw error
        }
    }

    /// Seals until the lease is lost, or until another sealer has moved the seal.
    /// - Parameter end: stops at this position; `nil` goes on with the events to come.
    /// - Returns: the position up to which the log is sealed.
    @discardableResult
    private func sealWhileLeased(
        on connection: PostgresConnection, upTo end: Position? = nil, succeeded: () -> Void = {}
    ) async throws -> Position {
        var reading = configuration
        reading.sessionSettings += EventWindow.sessionSettings
        let reader = try await PostgresConnection.connect(reading)
        do {
            let size = try await seal(on: connection, reading: reader, upTo: end, succeeded)
            await reader.close()
            return size
        } catch {
            await reader.close()
            throw error
        }
    }

    private func seal(
        on connection: PostgresConnection, reading reader: PostgresConnection, upTo end: Position?,
        _ succeeded: () -> Void
    ) async throws -> Position {
        let state = try await checkedState(on: connection, reading: reader)
        if let ended { try await signFork(after: ended, state, on: connection, reading: reader) }
        var growth = TreeGrowth(state.edge)
        if state.stopped != nil { try await connection.query("SELECT stop_seal(null)") }
        if let last = state.last, last.signer != key.verifier.signer {
            // Sign the present head with the new key at once. Otherwise whoever has only the new
            // verifier key could check nothing until the next event.
            guard try await commit(growth, after: growth.edge.size, epoch: state.epoch, on: connection) else {
                return growth.edge.size
            }
        }
        var renewed = ContinuousClock.now
        while true {
            if let end, growth.edge.size >= end { return growth.edge.size }
            if renewed.duration(to: .now) >= lease.times.renewal {
                guard try await lease.take(on: connection) else { return growth.edge.size }
                renewed = .now
            }
            let (size, start) = (growth.edge.size, ContinuousClock.now)
            let limit = min(size + window, end ?? .max)
            if try await demand.level(on: connection) == .local {
                try await growth.read(reader, upTo: limit, timeout: Self.timeout)
            } else {
                let head = try await connection.awaitDurableEvents(after: size, every: .milliseconds(10))
                if head > size { try await growth.read(reader, upTo: min(limit, head), timeout: nil) }
            }
            guard growth.edge.size > size else { continue }
            guard try await commit(growth, after: size, epoch: state.epoch, on: connection) else { return size }
            (growth.tiles, growth.added) = ([], [])
            succeeded()
            logger.debug("sealed", metadata: ["position": "\(growth.edge.size)"])
            if end == nil, growth.edge.size < limit {
                try await Task.sleep(for: max(.zero, interval - start.duration(to: .now)))
            }
        }
    }

    /// Signs the head of the tree and writes tiles and checkpoint to the ledger.
    /// - Returns: `false` where another sealer has moved the seal, or another epoch has begun.
    private func commit(
        _ growth: TreeGrowth, after size: Position, epoch: EventID, on connection: PostgresConnection
    ) async throws -> Bool {
        // The first append after a switchover begins an epoch. If the record said that the epoch
        // before had that event, it would look like one that the switchover lost.
        guard try await connection.query("SELECT epoch FROM ledger").only().decode(0) == epoch else { return false }
        let (edge, tiles) = (growth.edge, growth.tiles)
        let checkpoint = try SignedCheckpoint(
            TreeHead(origin: key.name, size: edge.size, root: edge.root), signedBy: key)
        do {
            try await record.keep(growth.added, after: size)
            try await record.save(.init(epoch: epoch, checkpoint: checkpoint))
        } catch {
            throw SealStopped("\(error)")
        }
        return try await connection.query(
            "SELECT add_to_seal($1, $2, $3, $4, $5, $6, $7, $8, $9)", epoch, size, edge.size, PostgresBytes(edge.bytes),
            tiles.map { Int32($0.tile.level) }, tiles.map(\.tile.number),
            tiles.map { PostgresBytes(MerkleHash.bytes($0.hashes)) },
            key.verifier.signer, checkpoint.text
        ).only().decode(0)
    }
}
