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
    private(set) var more = 0
    private let mostDifferences: Int

    /// What is sealed and was not met in the table, with its position.
    private var missing: [MerkleHash: Position] = [:]
    /// What was met in the table and is not sealed there, with its position, and how far its
    /// neighbours were moved.
    private var strays: [MerkleHash: (position: Position, shift: Position)] = [:]
    /// How far the event was moved that found its partner last.
    private var shift: Position = 0
    private var run: Difference?

    /// - Parameters:
    ///   - limit: how many events may be without a partner; beyond, they are settled as they are.
    ///   - mostDifferences: how many are kept; beyond, they are counted.
    init(limit: Int = 1 << 16, mostDifferences: Int = 10_000) {
        self.limit = limit
        self.mostDifferences = mostDifferences
    }

    /// Whether everything was the same so far.
    var isClean: Bool { differences.isEmpty && run == nil && missing.isEmpty && strays.isEmpty }

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
            if let stray = strays.removeValue(forKey: sealed) {
                moved(to: stray.position, from: position)
            } else {
                missing[sealed] = position
            }
        }
        if let row { met(row, at: position) }
        if missing.count > limit || strays.count > limit { settle() }
    }

    /// Takes a second event at a position, which only a table without its key can have.
    mutating func met(_ row: MerkleHash, at position: Position) {
        if let sealed = missing.removeValue(forKey: row) {
            moved(to: position, from: sealed)
        } else {
            strays[row] = (position, shift)
        }
    }

    /// Takes an event behind the end of the seal, which belongs there unless it was sealed
    /// elsewhere.
    mutating func behind(_ row: MerkleHash, at position: Position) {
        if let sealed = missing.removeValue(forKey: row) { moved(to: position, from: sealed) }
    }

    /// What is still without a partner gets none.
    mutating func end() -> [Difference] {
        settle()
        finishRun()
        return differences.sorted { ($0.positions.lowerBound, $0.kind) < ($1.positions.lowerBound, $1.kind) }
    }

    private mutating func moved(to position: Position, from sealed: Position) {
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
        if let run { keep(run) }
        run = nil
    }

    private mutating func settle() {
        // An event that was altered stands where its neighbours say that it does.
        var places = Set(missing.values)
        for stray in strays.values.sorted(by: { $0.position < $1.position }) {
            if places.remove(stray.position - stray.shift) != nil {
                keep(Difference(kind: .altered, positions: stray.position...stray.position, shift: stray.shift))
            } else if places.remove(stray.position) != nil {
                keep(Difference(kind: .altered, positions: stray.position...stray.position))
            } else {
                keep(Difference(kind: .added, positions: stray.position...stray.position))
            }
        }
        for position in places.sorted() { keep(Difference(kind: .removed, positions: position...position)) }
        missing = [:]
        strays = [:]
    }

    private mutating func keep(_ difference: Difference) {
        if differences.count < mostDifferences { differences.append(difference) } else { more += 1 }
    }
}
