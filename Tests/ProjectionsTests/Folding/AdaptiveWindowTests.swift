import Testing

@testable import Projections

@Suite struct AdaptiveWindowTests {
    @Test func growsWhileBehindAndFast() {
        var window = AdaptiveWindow(largest: 100_000)
        #expect(window.size == 10_000)
        for expected: Int64 in [20_000, 40_000, 80_000, 100_000, 100_000] {
            window.folded(window.size, in: .milliseconds(100))
            #expect(window.size == expected)
        }
    }

    @Test func ignoresWindowsThatWereNotFull() {
        var window = AdaptiveWindow(largest: 100_000)
        window.folded(9_999, in: .milliseconds(1))
        #expect(window.size == 10_000)
    }

    @Test func keepsItsSizeInBetween() {
        var window = AdaptiveWindow(largest: 100_000)
        window.folded(10_000, in: .milliseconds(500))
        #expect(window.size == 10_000)
    }

    /// However slow the events are, a window has at least one.
    @Test func shrinksToOneEvent() {
        var window = AdaptiveWindow(largest: 100_000)
        for _ in 0..<20 { window.folded(window.size, in: .seconds(2)) }
        #expect(window.size == 1)
        window.folded(1, in: .milliseconds(1))
        #expect(window.size == 2)
    }

    @Test func halvesAfterATimeout() {
        var window = AdaptiveWindow(largest: 100_000)
        window.timedOut()
        #expect(window.size == 5000)
    }

    @Test func isNeverAboveTheLargest() {
        #expect(AdaptiveWindow(largest: 7).size == 7)
    }
}
