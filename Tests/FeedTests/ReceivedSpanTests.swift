import LedgerCore
import Testing

@testable import Feed

@Suite struct ReceivedSpanTests {
    private let now = ContinuousClock.now

    /// For each event, the position after which everything was received.
    @Test func findsGapsByThePositions() {
        var receivedSpan = ReceivedSpan()
        func receive(_ positions: Position...) -> [Position] { positions.map { receivedSpan.receive($0) } }
        #expect(receive(5, 6, 7) == [4, 4, 4])
        // Repeats and older events: the span covers what was received, and no more.
        #expect(receive(7, 6, 4) == [4, 4, 3])
        #expect(receive(8, 10, 11) == [4, 9, 9])
        #expect(receive(9, 12) == [8, 9])
        receivedSpan.cut()
        #expect(receive(13) == [12])
    }

    /// An event that arrives without its data does not count as received.
    @Test func anEventWithoutItsDataIsAGap() {
        var receivedSpan = ReceivedSpan()
        func receive(_ positions: Position...) -> [Position] { positions.map { receivedSpan.receive($0) } }
        #expect(receive(1) == [0])
        receivedSpan.receiveNotice(2)
        #expect(receive(3, 4) == [2, 2])
        receivedSpan.receiveNotice(3)
        #expect(receive(5) == [2])
    }

    @Test func theBeatRevealsALossAtTheEnd() {
        var receivedSpan = ReceivedSpan()
        func beat(_ positions: Position...) -> [Bool] { positions.map { receivedSpan.beat($0, at: now) } }
        #expect(beat(0, 3) == [false, true])
        #expect([receivedSpan.receive(4)] == [3])
        #expect(beat(4, 2, 6, 6) == [false, false, true, false])
        #expect([receivedSpan.receive(7)] == [6])
    }

    @Test func aBeatIsTrustedForAWhile() {
        var receivedSpan = ReceivedSpan()
        #expect(receivedSpan.announcedHead(at: now) == nil)
        _ = receivedSpan.beat(3, at: now)
        #expect(receivedSpan.announcedHead(at: now.advanced(by: .seconds(1))) == 3)
        #expect(receivedSpan.announcedHead(at: now.advanced(by: ReceivedSpan.longestSilence)) == nil)
        _ = receivedSpan.beat(3, at: now)
        receivedSpan.cut()
        #expect(receivedSpan.announcedHead(at: now) == nil)
    }
}
