import LedgerCore
import Testing

@testable import EventStore

@Suite struct LogMomentsTests {
    @Test(
        arguments: [
            (2, 1, 2), (2, 1, 100), (3, 1, 100), (500, 1, 499), (500, 1, 500), (500, 1, 501), (500, 7, 5_000_000),
            (500, 1, Position.positions.upperBound),
            (7, Position.positions.upperBound - 3, Position.positions.upperBound),
        ] as [(Int, Position, Position)])
    func positionsAreEven(points: Int, first: Position, last: Position) {
        let positions = LogMoments.positions(points, first, last)
        #expect(positions.first == first && positions.last == last)
        #expect(positions.count == min(points, Int(clamping: last - first) + 1))
        let steps = zip(positions, positions.dropFirst()).map { $1 - $0 }
        #expect(steps.allSatisfy { $0 >= 1 } && (steps.max() ?? 0) - (steps.min() ?? 0) <= 1)
    }

    @Test func emptyRanges() {
        #expect(LogMoments.positions(5, 3, 2).isEmpty && LogMoments.positions(5, 1, 0).isEmpty)
        #expect(LogMoments.positions(5, 3, 3) == [3])
    }
}
