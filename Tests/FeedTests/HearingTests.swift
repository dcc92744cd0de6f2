import LedgerCore
import Testing

@testable import Feed

@Suite struct HearingTests {
    private let now = ContinuousClock.now

    /// Each event says behind which position everything has been heard.
    @Test func tellsHolesByThePositions() {
        var hearing = Hearing()
        func hear(_ positions: Position...) -> [Position] { positions.map { hearing.hear($0) } }
        #expect(hear(5, 6, 7) == [4, 4, 4])
        // Again, and older: what was heard once is claimed, and no more.
        #expect(hear(7, 6, 4) == [4, 4, 3])
        #expect(hear(8, 10, 11) == [4, 9, 9])
        #expect(hear(9, 12) == [8, 9])
        hearing.cut()
        #expect(hear(13) == [12])
    }

    /// What had to be read elsewhere does not count as heard.
    @Test func whatIsOnlyHeardOfIsAHole() {
        var hearing = Hearing()
        func hear(_ positions: Position...) -> [Position] { positions.map { hearing.hear($0) } }
        #expect(hear(1) == [0])
        hearing.hearOf(2)
        #expect(hear(3, 4) == [2, 2])
        hearing.hearOf(3)
        #expect(hear(5) == [2])
    }

    @Test func theBeatShowsALossAtTheTail() {
        var hearing = Hearing()
        func beat(_ positions: Position...) -> [Bool] { positions.map { hearing.beat($0, at: now) } }
        #expect(beat(0, 3) == [false, true])
        #expect([hearing.hear(4)] == [3])
        #expect(beat(4, 2, 6, 6) == [false, false, true, false])
        #expect([hearing.hear(7)] == [6])
    }

    @Test func aBeatIsBelievedForAWhile() {
        var hearing = Hearing()
        #expect(hearing.told(at: now) == nil)
        _ = hearing.beat(3, at: now)
        #expect(hearing.told(at: now.advanced(by: .seconds(1))) == 3)
        #expect(hearing.told(at: now.advanced(by: Hearing.longestSilence)) == nil)
        _ = hearing.beat(3, at: now)
        hearing.cut()
        #expect(hearing.told(at: now) == nil)
    }
}
