import LedgerCore
import TransparencyLog

/// How the events of a table differ from those that were sealed. Both are told by position, in
/// order; what is sealed elsewhere is found by its hash, so an event that was moved is known again,
/// and so are those behind one that was removed or put in between.
///
/// A plain value, and bounded: it keeps what has found no partner yet, and no more of it than
/// ``limit``.
struct LeafComparison {
    enum Kind: String, Sendable, Comparable {
        case removed, added, altered, moved

        private var order: Int {
            switch self {
            case .removed: 0
            case .added: 1
            case .altered: 2
            case .moved: 3
            }
        }

        static func < (a: Kind, b: Kind) -> Bool { a.order < b.order }
    }

    struct Difference: Sendable, Equatable {
        var kind: Kind
        /// In the table; of one that was removed, where it was sealed.
        var positions: ClosedRange<Position>
        /// How far it, or they, were moved: the position now less that of the seal.
        var shift: Position = 0
    }

    private let limit: Int
    private(set) var differences: [Difference] = []
    /// Differences beyond those that are kept.
    private(set) var unrecordedCount = 0
    private let maxDifferences: Int

    /// What is sealed and was not met in the table, with its position.
    private var unmatchedSealed: [MerkleHash: Position] = [:]
    /// What was met in the table and is not sealed there, with its position, and how far its
    /// neighbours were moved.
    private var unmatchedRows: [MerkleHash: (position: Position, shift: Position)] = [:]
    /// How far the event was moved that found its partner last.
    private var shift: Position = 0
    private var run: Difference?

    /// - Parameters:
    ///   - limit: how many events may be without a partner; beyond, they are settled as they are.
    ///   - maxDifferences: how many are kept; beyond, they are counted.
    init(limit: Int = 1 << 16, maxDifferences: Int = 10_000) {
        self.limit = limit
        self.maxDifferences = maxDifferences
    }

    /// Whether everything was the same so far.
    var isClean: Bool { differences.isEmpty && run == nil && unmatchedSealed.isEmpty && unmatchedRows.isEmpty }

    /// Takes what is sealed at a position and what stands there.
    /// - Parameters:
    ///   - sealed: `nil` behind the end of the seal.
    ///   - row: `nil` where there is no event.
    mutating func compare(at position: Position, sealed: MerkleHash?, row: MerkleHash?) {
        if sealed == row {
            shift = 0
            return
        }
        if let sealed {
            if let row = unmatchedRows.removeValue(forKey: sealed) {
                noteMove(to: row.position, from: position)
            } else {
                unmatchedSealed[sealed] = position
            }
        }
        if let row { addRow(row, at: position) }
        if unmatchedSealed.count > limit || unmatchedRows.count > limit { resolveUnmatched() }
    }

    /// Takes a second event at a position, which only a table without its key can have.
    mutating func addRow(_ row: MerkleHash, at position: Position) {
        if let sealed = unmatchedSealed.removeValue(forKey: row) {
            noteMove(to: position, from: sealed)
        } else {
            unmatchedRows[row] = (position, shift)
        }
    }

    /// Takes an event behind the end of the seal, which belongs there unless it was sealed
    /// elsewhere.
    mutating func addUnsealed(_ row: MerkleHash, at position: Position) {
        if let sealed = unmatchedSealed.removeValue(forKey: row) { noteMove(to: position, from: sealed) }
    }

    /// What is still without a partner gets none.
    mutating func finish() -> [Difference] {
        resolveUnmatched()
        finishRun()
        return differences.sorted { ($0.positions.lowerBound, $0.kind) < ($1.positions.lowerBound, $1.kind) }
    }

    private mutating func noteMove(to position: Position, from sealed: Position) {
        shift = position - sealed
        guard shift != 0 else { return }
        if let run, run.shift == shift, run.positions.upperBound + 1 == position {
            self.run!.positions = run.positions.lowerBound...position
        } else {
            finishRun()
            run = Difference(kind: .moved, positions: position...position, shift: shift)
        }
    }

    private mutating func finishRun() {
        if let run { record(run) }
        run = nil
    }

    private mutating func resolveUnmatched() {
        // An event that was altered stands where its neighbours say that it does.
        var places = Set(unmatchedSealed.values)
        for row in unmatchedRows.values.sorted(by: { $0.position < $1.position }) {
            if places.remove(row.position - row.shift) != nil {
                record(Difference(kind: .altered, positions: row.position...row.position, shift: row.shift))
            } else if places.remove(row.position) != nil {
                record(Difference(kind: .altered, positions: row.position...row.position))
            } else {
                record(Difference(kind: .added, positions: row.position...row.position))
            }
        }
        for position in places.sorted() { record(Difference(kind: .removed, positions: position...position)) }
        unmatchedSealed = [:]
        unmatchedRows = [:]
    }

    private mutating func record(_ difference: Difference) {
        if differences.count < maxDifferences { differences.append(difference) } else { unrecordedCount += 1 }
    }
}
