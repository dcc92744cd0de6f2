import EventStore
import Foundation
import LedgerCore
import Logging
import Postgres
import TransparencyLog

/// Seals the log: lets the Merkle tree grow over what was appended, and signs its head.
///
/// Any number of them may run: one holds the lease and works, the others stand by. Tiles and checkpoint commit together, by
/// compare-and-swap on the size of the tree. What is not to be signed stops it, and says why: see ``SealStopped``.
public struct Sealer: Sendable {
    private let key: SealKey
    private let memory: SealMemory
    private let configuration: PostgresConfiguration
    private let interval: Duration
    private let window: Int64
    private let lease: Lease
    private let logger: Logger

    /// The sealer's name among the leases.
    public static let lease = "sealer"
    /// The most events between two checkpoints of a sealer that is behind.
    static let largestWindow: Int64 = 65_536
    /// How long the server waits for events.
    private static let patience = Duration.milliseconds(200)
    /// While it is stopped: how long to wait before looking again whether somebody has set it going.
    private static let stopped = Duration.seconds(1)

    /// - Parameters:
    ///   - interval: the shortest time between two checkpoints of a sealer that is not behind.
    ///   - window: the most events between two checkpoints.
    public init(
        key: SealKey, memory: SealMemory, url: String, ledger: LedgerName, interval: Duration = .seconds(1), window: Int = 65_536,
        logger: Logger
    ) {
        self.key = key
        self.memory = memory
        self.interval = interval
        self.window = Int64(window)
        self.logger = logger
        lease = Lease(Self.lease, holder: UUID.version7().text)
        configuration = EventStore.configuration(url: url, ledger: ledger, applicationName: "jobledger sealer \(ledger)")
    }

    /// Runs until the task is cancelled.
    public func run() async {
        await LeasedWork(lease, on: configuration, longestPause: .seconds(5), logger: logger).run { connection, succeeded in
            var reason: String?
            while true {
                do {
                    try await hold(on: connection) {
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
                try await Task.sleep(for: Self.stopped)
                guard try await lease.take(on: connection) else { return }
            }
        }
    }

    /// Seals what the log has now, and returns where it ends.
    /// - Throws: ``SealStopped``
    public func sealUntilHead() async throws -> Position {
        let connection = try await PostgresConnection.connect(configuration, patience: .seconds(5))
        do {
            guard try await lease.take(on: connection) else {
                throw SealStopped("another sealer is at work; it seals what is there")
            }
            let head: Position = try await connection.query("SELECT head()").only().decode(0)
            while case let size = try await hold(on: connection, upTo: head), size < head {}
            await lease.giveUp(on: connection)
            await connection.close()
            return head
        } catch {
            await lease.giveUp(on: connection)
            await connection.close()
            throw error
        }
    }

    /// Seals until the lease is lost, somebody else has moved the seal, or, where an end is given, up to it.
    /// - Returns: how far the log is sealed.
    @discardableResult
    private func hold(
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
        on connection: PostgresConnection, reading reader: PostgresConnection, upTo end: Position?, _ succeeded: () -> Void
    ) async throws -> Position {
        let state = try await permitted(on: connection, reading: reader)
        var growth = Growth(state.edge)
        if state.stopped != nil { try await connection.query("SELECT stop_seal(null)") }
        if let last = state.last, last.signer != key.verifier.signer {
            // Who has only the new key shall not wait for the next event.
            guard try await keep(growth, after: growth.edge.size, epoch: state.epoch, on: connection) else {
                return growth.edge.size
            }
        }
        var renewed = ContinuousClock.now
        while true {
            if let end, growth.edge.size >= end { return growth.edge.size }
            if renewed.duration(to: .now) >= Lease.renewal {
                guard try await lease.take(on: connection) else { return growth.edge.size }
                renewed = .now
            }
            let (size, start) = (growth.edge.size, ContinuousClock.now)
            let limit = min(size + window, end ?? .max)
            try await growth.read(reader, upTo: limit, patience: Self.patience)
            guard growth.edge.size > size else { continue }
            guard try await keep(growth, after: size, epoch: state.epoch, on: connection) else { return size }
            growth.tiles = []
            succeeded()
            logger.debug("sealed", metadata: ["position": "\(growth.edge.size)"])
            if end == nil, growth.edge.size < limit {
                try await Task.sleep(for: max(.zero, interval - start.duration(to: .now)))
            }
        }
    }

    /// Signs the head of the tree and keeps it. False where somebody else has moved the seal.
    private func keep(
        _ growth: Growth, after size: Position, epoch: EventID, on connection: PostgresConnection
    ) async throws -> Bool {
        let (edge, tiles) = (growth.edge, growth.tiles)
        let checkpoint = try SignedCheckpoint(TreeHead(origin: key.name, size: edge.size, root: edge.root), signedBy: key)
        do {
            try await memory.save(.init(epoch: epoch, checkpoint: checkpoint))
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

    /// Where the seal stands, if this key may go on with it.
    private func permitted(on connection: PostgresConnection, reading reader: PostgresConnection) async throws -> SealState {
        let (state, remembered): (SealState, SealMemory.Content?)
        do {
            state = try await SealState.load(on: connection)
            remembered = try await memory.load()
        } catch let error as SealDamaged {
            throw SealStopped("\(error). jobledger audit verify says more")
        } catch let error as KeyFile.Failure {
            throw SealStopped("\(error)")
        }
        if let named = key.name.split(separator: "/").last.flatMap({ EventID(text: String($0)) }), named != state.epoch {
            throw SealStopped(
                """
                the key \(key.name) is for another epoch of the ledger, which has begun the epoch \(state.epoch.text): make a key for \
                it (jobledger audit key --out FILE), and give the new verifier key to those who check
                """)
        }
        if let last = state.last, last.signer == key.verifier.signer {
            do {
                try last.checkpoint.verify(by: key.verifier)
            } catch {
                throw SealStopped("\(error), though it says so: it was altered. jobledger audit verify says more")
            }
        }
        guard let remembered, remembered.checkpoint.head.origin == key.name else { return state }
        guard remembered.epoch == state.epoch else {
            throw SealStopped(
                "the key \(key.name) has signed for the epoch \(remembered.epoch.text) of the ledger, and this is \(state.epoch.text): make another key"
            )
        }
        try await check(remembered.checkpoint.head, against: state, on: connection, reading: reader)
        return state
    }

    /// Whether what was signed before is the beginning of what is there now.
    private func check(
        _ signed: TreeHead, against state: SealState, on connection: PostgresConnection, reading reader: PostgresConnection
    ) async throws {
        let root: MerkleHash
        if signed.size <= state.size {
            do {
                root = try await StoredTiles(connection: connection, edge: state.edge).root(at: signed.size, treeOf: state.size)
            } catch let error as SealDamaged {
                throw SealStopped("\(error). jobledger audit verify says more")
            }
        } else {
            // It was killed between the signature and the commit, or the database is an older one.
            var growth = Growth(state.edge)
            try await growth.read(reader, upTo: signed.size, patience: nil, keepsTiles: false)
            guard growth.edge.size == signed.size else {
                throw SealStopped(
                    """
                    the log ends at position \(growth.edge.size), but \(signed.size) events have been signed (\(memory.path)): it was rolled \
                    back. After restoring a backup begin another epoch, SELECT begin_epoch(), and make a key for it
                    """)
            }
            root = growth.edge.root
        }
        guard root == signed.root else {
            throw SealStopped(
                """
                the first \(signed.size) events are not those that were signed (\(memory.path)): the history was rewritten. \
                jobledger audit verify --against \(memory.path) confirms it
                """)
        }
    }
}

/// Why a sealer signs no more. It goes on by itself once the reason is gone.
public struct SealStopped: Error, Sendable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// A tree that takes in events.
private struct Growth {
    var edge: TreeEdge
    /// Those that are full since they were last kept.
    var tiles: [(tile: Tile, hashes: [MerkleHash])] = []
    private var leaves = LeafReader()

    init(_ edge: TreeEdge) { self.edge = edge }

    /// Takes in the events behind its end, up to a position or to the end of the log.
    mutating func read(
        _ reader: PostgresConnection, upTo end: Position, patience: Duration?, keepsTiles: Bool = true
    ) async throws {
        for try await chunk in reader.copyOut(LeafReader.script(after: edge.size, upTo: end, patience: patience)) {
            try leaves.read(chunk) { row in
                guard row.position == edge.size + 1 else {
                    throw SealStopped(
                        "there is no event at position \(edge.size + 1), and there is one at \(row.position): one was removed")
                }
                edge.append(row.leaf) { if keepsTiles { tiles.append(($0, $1)) } }
            }
        }
    }
}
