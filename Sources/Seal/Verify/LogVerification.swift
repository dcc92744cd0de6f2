import LedgerCore
import TransparencyLog

/// Compares the events with what was sealed, tile by tile, in one pass.
struct LogVerification {
    typealias Finding = SealVerification.Finding

    private let trusted: TrustedTree
    private var tileVerification: TileVerification
    private let from: Position
    private let end: Position
    private var size: Position { trusted.edge.size }

    /// Events that were read, in the order of the table. The first ``comparedRows`` are compared.
    var rows: [LeafReader.Row] = []
    private var comparedRows = 0
    /// The next position that is compared.
    private var next: Position
    private var comparison = LeafComparison(maxDifferences: Self.maxFindings)
    private var reported: [Finding] = []
    private var unreportedCount = 0
    /// The tree with the events after the seal: a checkpoint from outside may have more events than
    /// are sealed here.
    private var grownTree: CompactRange
    /// The roots of ``grownTree`` at the sizes of these checkpoints; `nil` until it has that size.
    private var rootsBySize: [Position: MerkleHash?]
    private var lastTime = Int64.min
    /// Tiles of level 0. They are fetched many at a time.
    private var fetched: (numbers: Range<Int64>, hashes: [Tile: [MerkleHash]]) = (0..<0, [:])

    /// The most findings that are kept.
    private static let maxFindings = 10_000
    /// The number of tiles that are fetched at once: those below one tile of level 1.
    private static let tilesPerFetch = Int64(Tile.width)

    init(_ trusted: TrustedTree, from: Position, to end: Position, against: [TreeHead]) {
        self.trusted = trusted
        self.from = from
        self.end = end
        next = from
        tileVerification = TileVerification(trusted.source, trusted.edge, isTrusted: trusted.isTrusted)
        grownTree = trusted.edge
        rootsBySize = Dictionary(
            against.filter { $0.size > trusted.edge.size }.map { ($0.size, nil) }, uniquingKeysWith: { $1 })
    }

    var comparedCount: Int64 { next - from }

    /// Compares the rows that were read so far: whole tiles, and the events after the seal.
    mutating func compareBuffered() async throws {
        while let last = rows.last, comparedRows < rows.count, next <= size {
            let upTo = lastOfTile
            guard last.position > upTo else { break }
            try await compareTile(upTo: upTo)
        }
        if next > size { compareUnsealed() }
        if comparedRows == rows.count {
            rows.removeAll(keepingCapacity: true)
            comparedRows = 0
        }
    }

    /// Compares the remaining rows. Call it when there are no more events.
    mutating func finish() async throws {
        while next <= min(size, end) { try await compareTile(upTo: lastOfTile) }
        compareUnsealed()
    }

    private var lastOfTile: Position { min(((next - 1) / Int64(Tile.width) + 1) * Int64(Tile.width), size, end) }

    /// The findings, in the order of their positions.
    var findings: [FindingLabels.UnlabelledFinding] {
        mutating get {
            var unlabelled = comparison.finish().map(FindingLabels.UnlabelledFinding.difference)
            let damaged = tileVerification.damages.map { damage in
                let leaves = damage.tile.leaves
                let state = damage.isMissing ? "is missing" : "was altered"
                let consequence =
                    damage.isRepaired
                    ? "; the tiles below it give what was signed"
                    : ": of the events it stands for, only those that differ from the tiles below are named"
                return Finding(
                    kind: .tile, positions: leaves.lowerBound + 1...leaves.upperBound,
                    message: "the tile \(damage.tile.path()) " + state + consequence)
            }
            unlabelled += (trusted.findings + reported + damaged).map(FindingLabels.UnlabelledFinding.finding)
            return unlabelled.sorted { $0.position < $1.position }
        }
    }

    /// The number of findings beyond those that are kept.
    var more: Int { comparison.unrecordedCount + unreportedCount }

    // MARK: The sealed part

    private mutating func compareTile(upTo last: Position) async throws {
        let number = (next - 1) / Int64(Tile.width)
        let tile = Tile(level: 0, number: number)
        let first = number * Int64(Tile.width) + 1
        var endOfTile = comparedRows
        while endOfTile < rows.count, rows[endOfTile].position <= last { endOfTile += 1 }
        let met = rows[comparedRows..<endOfTile]
        let sealed = try await sealedHashes(of: tile, met)
        defer {
            comparedRows = endOfTile
            next = last + 1
        }
        guard let sealed else { return }
        let places = Int(next - first)...Int(last - first)
        if comparison.isClean, met.count == places.count,
            zip(met, places).allSatisfy({ $0.leaf == sealed[$1] && $0.position == first + Int64($1) })
        {
            return checkTimes(met)
        }
        lastTime = .min
        var rest = met
        for place in places {
            let position = first + Int64(place)
            comparison.compare(
                at: position, sealed: sealed[place],
                row: rest.first?.position == position ? rest.removeFirst().leaf : nil)
            while let row = rest.first, row.position == position {
                comparison.addRow(rest.removeFirst().leaf, at: row.position)
            }
        }
    }

    /// The hashes that were sealed in a tile of level 0. Reports a tile that is not what was
    /// signed, and then returns the hashes that come closest to it.
    /// - Parameter met: the events of the tile.
    /// - Returns: `nil` where nothing is known about the tile.
    private mutating func sealedHashes(of tile: Tile, _ met: ArraySlice<LeafReader.Row>) async throws -> [MerkleHash]? {
        if tile.width(inTreeOf: size) < Tile.width { return trusted.edge.hashes(of: tile) }
        let hashes = try await stored(tile)
        let expected = try await tileVerification.expectation(of: tile)
        // Without the tile above, this one cannot be checked. The finding is about the one above.
        guard let hash = expected.hash, hashes.map(MerkleHash.root(ofFullTile:)) != hash else { return hashes }
        let range = tile.leaves.lowerBound + 1...tile.leaves.upperBound
        let state = hashes == nil ? "is missing" : "was altered"
        let isComplete = met.count == Tile.width && zip(met, range).allSatisfy { $0.position == $1 }
        if expected.isTrusted, isComplete, MerkleHash.root(ofFullTile: met.map(\.leaf)) == hash {
            report(.tile, range, "the tile \(tile.path()) \(state); the events that it stands for are what was sealed")
            return met.map(\.leaf)
        }
        report(
            .tile, range,
            "the tile \(tile.path()) \(state), and the events that it stands for are not what was sealed: "
                + "one of them at least was altered")
        return hashes
    }

    private mutating func stored(_ tile: Tile) async throws -> [MerkleHash]? {
        if !fetched.numbers.contains(tile.number) {
            let first = tile.number / Self.tilesPerFetch * Self.tilesPerFetch
            let numbers = max(first, tile.number)..<min(first + Self.tilesPerFetch, size / Int64(Tile.width))
            fetched = (
                numbers, try await trusted.source.hashes(of: numbers.map { Tile(level: 0, number: $0) }, treeOf: size)
            )
        }
        return fetched.hashes[tile]
    }

    private mutating func report(_ kind: Finding.Kind, _ positions: ClosedRange<Position>, _ message: String) {
        guard reported.count < Self.maxFindings else {
            unreportedCount += 1
            return
        }
        reported.append(Finding(kind: kind, positions: positions, message: message))
    }

    // MARK: After the seal

    private mutating func compareUnsealed() {
        while comparedRows < rows.count {
            let row = rows[comparedRows]
            comparedRows += 1
            if row.position > next {
                report(.removed, next...row.position - 1, "there are no events here, though there are later ones")
            } else if row.position < next {
                report(.added, row.position...row.position, "a second event stands here")
            }
            comparison.addUnsealed(row.leaf, at: row.position)
            checkTimes(rows[comparedRows - 1..<comparedRows])
            if row.position == grownTree.size + 1 {
                grownTree.append(row.leaf)
                if rootsBySize[grownTree.size] != nil { rootsBySize[grownTree.size] = grownTree.root }
            }
            next = max(next, row.position + 1)
        }
    }

    /// Reports an event that was recorded before the one before it: the clock of the log never goes
    /// back.
    private mutating func checkTimes(_ rows: ArraySlice<LeafReader.Row>) {
        for row in rows {
            if row.recordedAt < lastTime {
                report(
                    .time, row.position...row.position,
                    "its recorded time is before that of the event before it, which no append does")
            }
            lastTime = row.recordedAt
        }
    }

    // MARK: Checkpoints from outside

    /// Reports it where the history of a checkpoint is not the beginning of this one.
    /// - Parameters:
    ///   - fork: the statement of the checkpoint's key that the ledger lost some of these events.
    ///   - unsigned: that the ledger lost some of them, as far as its epochs tell.
    /// - Throws: whatever reading the tiles throws. An error of Postgres says nothing about the
    ///   log.
    mutating func compare(with head: TreeHead, fork: SealFork?, unsigned: UnsignedLoss?) async throws {
        let root: MerkleHash?
        do {
            root = try await self.root(at: head.size)
        } catch is SealDamaged {
            return report(
                .history, head.size...head.size,
                "tiles are missing that a comparison with the checkpoint of \(head.size) events needs")
        }
        if root == head.root { return }
        if let fork, fork.problem == nil {
            return report(
                .lost, fork.shared + 1...head.size,
                "these events of the checkpoint of \(head.origin) are gone, and all before them are the same: "
                    + fork.summary)
        }
        let explanation = unsigned.map { "; \($0)" } ?? ""
        if root == nil {
            report(
                .history, head.size...head.size,
                "the checkpoint of \(head.origin) has \(head.size) events, and the log ends at \(grownTree.size): "
                    + "it was cut off, or is an older backup" + explanation)
        } else {
            report(
                .history, head.size...head.size,
                "the first \(head.size) events are not those of the checkpoint of \(head.origin): "
                    + "the history was rewritten" + explanation)
        }
    }

    /// Reports it where the statement of a fork is not sound, or this history does not continue
    /// what it says.
    /// - Parameter keys: those that are trusted. Where one of them has ended by this fork, it must
    ///   have signed it.
    mutating func check(_ fork: SealFork, _ keys: [VerifierKey]) async throws {
        let name = "the statement that \(fork.ended.origin) has ended"
        if let problem = fork.problem { return report(fork: "\(name): \(problem)") }
        let ofItsName = keys.filter { $0.name == fork.ended.origin }
        if !ofItsName.isEmpty, !ofItsName.contains(where: fork.isSigned) {
            return report(fork: "\(name): that key has not signed it")
        }
        let root: MerkleHash?
        do {
            root = try await self.root(at: fork.shared)
        } catch is SealDamaged {
            root = nil
        }
        // A part of the log does not tell.
        guard let root, root != fork.sharedRoot else { return }
        report(
            fork: "\(name) says that the first \(fork.shared) events are the same, but they are not those of "
                + "this log: the history was rewritten")
    }

    mutating func report(fork message: String) { report(.fork, size...size, message) }

    /// The root of the tree at a size that a checkpoint from outside has.
    /// - Returns: `nil` where the log has fewer events.
    /// - Throws: ``SealDamaged`` where tiles are missing.
    private func root(at size: Position) async throws -> MerkleHash? {
        if size > self.size { return rootsBySize[size] ?? nil }
        return try await trusted.source.root(at: size, treeOf: self.size)
    }
}
