import LedgerCore
import TransparencyLog

/// Finds how the events of a table differ from those that were sealed.
///
/// It takes both in the order of their positions, and matches by hash what is not at its position.
/// So it recognises an event that was moved, and also the events after one that was removed or
/// added, which all have shifted.
///
/// It is a plain value, and its memory is bounded: it remembers the events without a match, but not
/// more than ``limit`` of them.
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
        /// The positions in the table; for a removed event, the position at which it was sealed.
        var positions: ClosedRange<Position>
        /// How far the events were moved: the position now minus the position in the seal.
        var shift: Position = 0
    }

    private let limit: Int
    private(set) var differences: [Difference] = []
    /// The number of differences beyond ``maxDifferences``.
    private(set) var unrecordedCount = 0
    private let maxDifferences: Int

    /// Events that are sealed but were not found in the table yet, with their sealed positions.
    private var unmatchedSealed: [MerkleHash: Position] = [:]
    /// Events in the table that were not found in the seal yet, with their positions, and how far
    /// their neighbours were moved.
    private var unmatchedRows: [MerkleHash: (position: Position, shift: Position)] = [:]
    /// How far the last event that was matched had been moved.
    private var shift: Position = 0
    private var run: Difference?

    /// - Parameters:
    ///   - limit: the most events without a match. Where there are more, all of them are reported
    ///     without one.
    ///   - maxDifferences: the most differences that are kept. Further ones are only counted.
    init(limit: Int = 1 << 16, maxDifferences: Int = 10_000) {
        self.limit = limit
        self.maxDifferences = maxDifferences
    }

    /// Whether there is no difference so far.
    var isClean: Bool { differences.isEmpty && run == nil && unmatchedSealed.isEmpty && unmatchedRows.isEmpty }

    /// Compares what is sealed at a position with what is there.
    /// - Parameters:
    ///   - sealed: `nil` after the end of the seal.
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

    /// Takes a further event at a position. Only a table that has lost its primary key can have
    /// one.
    mutating func addRow(_ row: MerkleHash, at position: Position) {
        if let sealed = unmatchedSealed.removeValue(forKey: row) {
            noteMove(to: position, from: sealed)
        } else {
            unmatchedRows[row] = (position, shift)
        }
    }

    /// Takes an event after the end of the seal. It belongs there, unless it was sealed at another
    /// position.
    mutating func addUnsealed(_ row: MerkleHash, at position: Position) {
        if let sealed = unmatchedSealed.removeValue(forKey: row) { noteMove(to: position, from: sealed) }
    }

    /// Reports the events that still have no match.
    /// - Returns: all differences, in the order of their positions.
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
        // If no event was sealed with this hash, but one at this position is missing, the event was
        // altered. The position is that of the seal: the shift of the neighbours is taken off.
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
