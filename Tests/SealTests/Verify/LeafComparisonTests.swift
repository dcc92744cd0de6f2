import LedgerCore
import LedgerTesting
import Testing
import TransparencyLog

@testable import Seal

struct LeafComparisonTests {
    private typealias Difference = LeafComparison.Difference

    private static func leaf(_ number: Int) -> MerkleHash { .leaf(Array("\(number)".utf8)) }

    /// Leaves are numbers here. Positions count from 1.
    /// - Parameter behind: the events after the end of the seal.
    private static func differences(
        sealed: [Int], table: [Position: Int], behind: [Position: Int] = [:], limit: Int = 1000
    ) -> [Difference] {
        var comparison = LeafComparison(limit: limit)
        for position in 1...Position(sealed.count) {
            comparison.compare(at: position, sealed: leaf(sealed[Int(position) - 1]), row: table[position].map(leaf))
        }
        for (position, number) in behind.sorted(by: { $0.key < $1.key }) {
            comparison.addUnsealed(leaf(number), at: position)
        }
        return comparison.finish()
    }

    private static func table(_ numbers: [Int]) -> [Position: Int] {
        Dictionary(uniqueKeysWithValues: numbers.enumerated().map { (Position($0 + 1), $1) })
    }

    private static func one(_ kind: LeafComparison.Kind, _ position: Position, shift: Position = 0) -> Difference {
        Difference(kind: kind, positions: position...position, shift: shift)
    }

    private let sealed = Array(1...100)

    @Test func nothing() { #expect(Self.differences(sealed: sealed, table: Self.table(sealed)) == []) }

    @Test func altered() {
        var table = Self.table(sealed)
        table[17] = 1017
        table[100] = 1100
        #expect(Self.differences(sealed: sealed, table: table) == [Self.one(.altered, 17), Self.one(.altered, 100)])
    }

    @Test func swapped() {
        for (a, b) in [(3, 4), (3, 90), (1, 100)] as [(Position, Position)] {
            var table = Self.table(sealed)
            (table[a], table[b]) = (table[b], table[a])
            #expect(
                Self.differences(sealed: sealed, table: table) == [
                    Self.one(.moved, a, shift: a - b), Self.one(.moved, b, shift: b - a),
                ])
        }
    }

    @Test func removed() {
        var table = Self.table(sealed)
        for position in [5, 6, 50, 100] as [Position] { table[position] = nil }
        #expect(Self.differences(sealed: sealed, table: table) == [5, 6, 50, 100].map { Self.one(.removed, $0) })
    }

    @Test func removedAndRenumbered() {
        for position in [1, 42, 99] {
            var numbers = sealed
            numbers.remove(at: position - 1)
            #expect(
                Self.differences(sealed: sealed, table: Self.table(numbers)) == [
                    Self.one(.removed, Position(position)),
                    Difference(kind: .moved, positions: Position(position)...99, shift: -1),
                ])
        }
        #expect(
            Self.differences(sealed: sealed, table: Self.table(Array(sealed.dropLast()))) == [Self.one(.removed, 100)])
    }

    /// The last sealed event has moved to a position after the end of the seal.
    @Test func addedAndRenumbered() {
        for position in [1, 42, 100] {
            var numbers = sealed
            numbers.insert(1000, at: position - 1)
            let last = numbers.removeLast()
            #expect(
                Self.differences(sealed: sealed, table: Self.table(numbers), behind: [101: last, 102: 7777]) == [
                    Self.one(.added, Position(position)),
                    Difference(kind: .moved, positions: Position(position + 1)...101, shift: 1),
                ])
        }
    }

    /// An event after a removed one is recognised as altered.
    @Test func alteredBehindRemoved() {
        var numbers = sealed
        numbers.remove(at: 9)
        numbers[49] = 1000
        #expect(
            Self.differences(sealed: sealed, table: Self.table(numbers)) == [
                Self.one(.removed, 10), Difference(kind: .moved, positions: 10...49, shift: -1),
                Self.one(.altered, 50, shift: -1), Difference(kind: .moved, positions: 51...99, shift: -1),
            ])
    }

    /// Memory is bounded. Beyond the limit, moved events are reported as altered, but every one is
    /// reported.
    @Test func bounded() {
        let reversed = Array(sealed.reversed())
        let found = Self.differences(sealed: sealed, table: Self.table(reversed), limit: 10)
        #expect(Set(found.flatMap { Array($0.positions) }) == Set(1...100))
        var comparison = LeafComparison(maxDifferences: 5)
        for position in 1...Position(20) {
            comparison.compare(at: position, sealed: Self.leaf(1), row: Self.leaf(2 + Int(position)))
        }
        #expect(comparison.finish().count == 5)
    }

    /// Random changes: everything that was changed is reported, and nothing else.
    @Test func anything() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            var numbers: [Int?] = Array(1...60)
            for _ in 0...random.below(4) {
                let place = Int(random.below(UInt64(numbers.count)))
                switch random.below(5) {
                case 0: numbers[place] = 1000 + Int(random.below(1_000_000))
                case 1: numbers.swapAt(place, Int(random.below(UInt64(numbers.count))))
                case 2: numbers[place] = nil
                case 3: numbers.remove(at: place)
                default: numbers.insert(1000 + Int(random.below(1_000_000)), at: place)
                }
            }
            let behind = numbers.dropFirst(60).compactMap { $0 }
            let table = Dictionary(
                uniqueKeysWithValues: numbers.prefix(60).enumerated().compactMap { place, number in
                    number.map { (Position(place + 1), $0) }
                })
            let found = Self.differences(
                sealed: Array(1...60), table: table,
                behind: Dictionary(uniqueKeysWithValues: behind.enumerated().map { (Position(61 + $0), $1) }))
            var named = Set<Position>()
            for difference in found {
                for position in difference.positions {
                    // No event is reported that is as it was sealed.
                    if difference.kind == .removed {
                        #expect(!table.values.contains(Int(position)) && !behind.contains(Int(position)))
                    } else if position <= 60 {
                        #expect(table[position] != Int(position))
                        #expect(difference.kind != .moved || table[position] == Int(position - difference.shift))
                        #expect(difference.kind != .added || table[position]! >= 1000)
                    }
                    named.insert(position)
                }
            }
            for position in 1...Position(60) where table[position] != Int(position) {
                // A gap is reported as a removed event, or by the move of this event or of later
                // ones.
                #expect(named.contains(position) || table[position] == nil)
            }
        }
    }
}
