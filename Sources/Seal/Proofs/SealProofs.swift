package import EventStore
package import LedgerCore
import Postgres
package import TransparencyLog

/// Reads checkpoints, tiles, entries and proofs from the tables of a ledger.
package struct SealProofs: SealedLog {
    private let store: EventStore

    package init(_ store: EventStore) { self.store = store }

    /// What was asked for is not sealed yet.
    package struct NotSealed: Error, Sendable, CustomStringConvertible {
        package let description: String
        /// The events up to this position are sealed.
        package let size: Position
    }

    /// The sealed tree at present.
    private struct Seal {
        var checkpoint: SignedCheckpoint
        var tiles: StoredTiles
        var size: Position { checkpoint.head.size }
    }

    private func withSeal<Value: Sendable>(
        _ body: sending (PostgresConnection, Seal?) async throws -> Value
    ) async throws -> Value {
        try await store.pool.withConnection { connection in
            let state = try await SealState.load(on: connection)
            let seal = state.last.map { last in
                Seal(checkpoint: last.checkpoint, tiles: StoredTiles(connection: connection, edge: state.edge))
            }
            return try await body(connection, seal)
        }
    }

    private func requireSealed(_ seal: Seal?, _ position: Position, _ what: String) throws(NotSealed) -> Seal {
        let size = seal?.size ?? 0
        guard let seal, position <= size else {
            throw NotSealed(
                description: size == 0
                    ? "nothing is sealed yet: a sealer has to run (jobledger audit seal)"
                    : "\(what) is not sealed yet: the events up to position \(size) are",
                size: size)
        }
        return seal
    }

    // MARK: Checkpoints

    /// The last checkpoint; `nil` while nothing is sealed.
    package func checkpoint() async throws -> SignedCheckpoint? { try await withSeal { $1?.checkpoint } }

    /// The last checkpoint, with the proof that it continues the tree of `size` events.
    /// - Throws: ``NotSealed`` where fewer events are sealed.
    package func update(from size: Int64) async throws -> CheckpointUpdate {
        try await withSeal { _, seal in
            let seal = try requireSealed(seal, size, "position \(size)")
            let hashes = try await seal.tiles.hashes(
                of: ConsistencyProof.ranges(old: size, new: seal.size), treeOf: seal.size)
            return CheckpointUpdate(oldSize: size, proof: ConsistencyProof(hashes: hashes), checkpoint: seal.checkpoint)
        }
    }

    // MARK: Events

    /// The proof of one event.
    /// - Parameter isWithheld: whether the proof has hashes instead of data and metadata.
    /// - Returns: `nil` where there is no such event.
    package func proof(of event: EventReference, isWithheld: Bool = false) async throws -> EventProof? {
        try await withSeal { connection, seal in
            let condition =
                switch event {
                case .position(let position): PostgresStatement(Self.select(isWithheld) + "position = $1", [position])
                case .id(let id): PostgresStatement(Self.select(isWithheld) + "event_id = $1", [id])
                }
            guard let row = try await connection.query(condition).first else { return nil }
            let event = try SealedEvent(row)
            let seal = try requireSealed(seal, event.position, "position \(event.position)")
            return try await Self.proofs(of: [event], in: seal)[0]
        }
    }

    /// The proofs of all sealed events of a stream, all with the same checkpoint.
    /// - Throws: ``TooMuch``, and ``NotSealed`` where none of its events is sealed.
    package func proofs(ofStream stream: StreamKey, isWithheld: Bool = false) async throws -> [EventProof] {
        try await withSeal { connection, seal in
            try await connection.require(stream.category)
            let condition = "category = \(stream.category.sql) AND stream_id = $1"
            let size = try await connection.query(Self.size(where: condition), stream.id).only()
            let (count, bytes): (Int64, Int64) = (try size.decode(0), try size.decode(1))
            guard count <= Self.mostOfStream, isWithheld || bytes <= Self.mostBytesOfStream else {
                throw TooMuch(events: count, bytes: bytes)
            }
            let rows = try await connection.query(
                Self.select(isWithheld) + condition + " ORDER BY version", stream.id)
            let events = try rows.map { try SealedEvent($0) }
            guard let first = events.first else { return [] }
            let seal = try requireSealed(seal, first.position, "the \(stream.category)")
            return try await Self.proofs(of: events.filter { $0.position <= seal.size }, in: seal)
        }
    }

    /// The most events of a stream that are proved at once, and the most bytes of their data and
    /// metadata.
    package static let mostOfStream: Int64 = 20_000
    package static let mostBytesOfStream: Int64 = 64 << 20

    /// The stream is larger than what is proved at once.
    package struct TooMuch: Error, Sendable, CustomStringConvertible {
        let events: Int64
        let bytes: Int64

        package var description: String {
            """
            it has \(events) events with \(bytes) bytes of data, and at most \(SealProofs.mostOfStream) \
            with \(SealProofs.mostBytesOfStream) are proved at once: withhold the data, or prove the events that \
            matter one by one
            """
        }
    }

    /// The number of events, and the bytes of their data and metadata.
    private static func size(where condition: String) -> String {
        """
        SELECT count(*), coalesce(sum(octet_length(data::text) + octet_length(metadata::text)), 0)::bigint
          FROM events WHERE \(condition)
        """
    }

    /// The beginning of a query for events; a condition comes after it.
    private static func select(_ isWithheld: Bool) -> String {
        "SELECT \(SealedEvent.columns(isWithheld: isWithheld)) FROM events WHERE "
    }

    private static func proofs(of events: [SealedEvent], in seal: Seal) async throws -> [EventProof] {
        // The events of a stream are close to each other, so their proofs share most hashes.
        let ranges = events.map { InclusionProof.ranges(index: $0.position - 1, size: seal.size) }
        let wanted = Array(Set(ranges.joined()))
        let hashes = try await seal.tiles.hashes(of: wanted, treeOf: seal.size)
        let known = Dictionary(uniqueKeysWithValues: zip(wanted, hashes))
        return try zip(events, ranges).map { event, ranges in
            let inclusion = InclusionProof(index: event.position - 1, hashes: ranges.compactMap { known[$0] })
            let proof = try EventProof(event, inclusion, seal.checkpoint)
            // Never hand out a proof that would fail the check.
            guard inclusion.root(of: try event.leaf.hash, size: seal.size) == seal.checkpoint.head.root else {
                throw SealDamaged(
                    "the event at position \(event.position) is not what was sealed there; "
                        + "jobledger audit verify says more")
            }
            return proof
        }
    }

    // MARK: The tree

    /// The first `width` hashes of a tile.
    /// - Returns: `nil` where the tile has fewer.
    package func tile(_ tile: Tile, width: Int) async throws -> [UInt8]? {
        try await withSeal { _, seal in
            guard let seal, tile.width(inTreeOf: seal.size) >= width else { return nil }
            let hashes = try await seal.tiles.hashes(of: [tile], treeOf: seal.size)[tile]
            guard let hashes else { throw SealDamaged("the tile \(tile.path()) is missing") }
            return MerkleHash.bytes(hashes.prefix(width))
        }
    }

    /// The first `width` entries of a tile of level 0. Each is a leaf, with its length in two bytes
    /// before it; a leaf has hashes instead of data and metadata.
    /// - Returns: `nil` where the tile has fewer.
    package func entries(_ number: Int64, width: Int) async throws -> [UInt8]? {
        let tile = Tile(level: 0, number: number)
        return try await withSeal { connection, seal in
            guard let seal, tile.width(inTreeOf: seal.size) >= width else { return nil }
            var reader = LeafReader()
            var (bytes, count): ([UInt8], Int) = ([], 0)
            let first = tile.leaves.lowerBound
            for try await chunk in connection.copyOut(LeafReader.script(after: first, upTo: first + Int64(width))) {
                try reader.entries(chunk) { entry in
                    guard let length = UInt16(exactly: entry.count) else {
                        throw SealDamaged(
                            "an event from position \(first + 1) to \(first + Int64(width)) has a job id, category "
                                + "or type that is too long")
                    }
                    bytes += [UInt8(length >> 8), UInt8(truncatingIfNeeded: length)]
                    bytes += entry
                    count += 1
                }
            }
            guard count == width else {
                throw SealDamaged("there are \(count) events from position \(first + 1) to \(first + Int64(width))")
            }
            return bytes
        }
    }

    /// Writes the checkpoint, and those of its tiles that are not there yet, into a directory. A
    /// directory with the checkpoint of another history, or a later checkpoint, stays as it is.
    /// - Returns: the checkpoint; `nil` while nothing is sealed.
    /// - Throws: ``HistoryRewritten`` where the log does not continue the checkpoint that is there;
    ///   `FileFailure`.
    package func write(to directory: TileDirectory) async throws -> SignedCheckpoint? {
        let kept = try directory.keptCheckpoint()
        if let kept {
            try await Witness(key: nil, memory: FixedMemory(checkpoint: kept)).look(at: self)
        }
        // Tiles that the checkpoint there does not cover may belong to another history.
        let known = kept?.head.size ?? 0
        return try await withSeal { _, seal in
            guard let seal else { return nil }
            for level in 0...Tile.highestLevel {
                let full = seal.size >> (Tile.height * (level + 1))
                for start in stride(from: 0, to: full, by: Tile.width) {
                    let tiles = try (start..<min(full, start + Int64(Tile.width)))
                        .map { Tile(level: level, number: $0) }
                        .filter { try $0.width(inTreeOf: known) < Tile.width || !directory.has($0) }
                    guard !tiles.isEmpty else { continue }
                    let hashes = try await seal.tiles.hashes(of: tiles, treeOf: seal.size)
                    for tile in tiles {
                        guard let hashes = hashes[tile] else { throw SealDamaged("the tile \(tile.path()) is missing") }
                        try directory.write(tile, hashes)
                    }
                }
            }
            for tile in Tile.edge(ofTreeOf: seal.size) {
                if let hashes = seal.tiles.edge.hashes(of: tile) { try directory.write(tile, hashes) }
            }
            try directory.write(seal.checkpoint)
            return seal.checkpoint
        }
    }
}

/// The memory of a witness that only checks: it has one checkpoint and saves no other.
private struct FixedMemory: WitnessMemory {
    let checkpoint: SignedCheckpoint

    func load() -> SignedCheckpoint? { checkpoint }
    func save(_ checkpoint: SignedCheckpoint) {}
}
