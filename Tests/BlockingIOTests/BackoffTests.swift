import BlockingIO
import Testing

@Suite struct BackoffTests {
    @Test func eachWaitIsBetweenHalfAndTheWholeOfItsStep() {
        for _ in 0..<100 {
            var backoff = Backoff(first: .milliseconds(50), longest: .seconds(2))
            for step in [50, 100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000] {
                let wait = backoff.advance()
                // The nanosecond is for rounding.
                #expect(
                    wait >= .milliseconds(step) / 2 && wait <= .milliseconds(step) + .nanoseconds(1),
                    "\(wait) at \(step) ms")
            }
            backoff.reset()
            #expect(backoff.advance() <= .milliseconds(50) + .nanoseconds(1))
        }
    }

    @Test func clientsDoNotAllReturnAtOnce() {
        let waits = (0..<100).map { _ in
            var backoff = Backoff()
            return backoff.advance()
        }
        #expect(Set(waits).count > 50)
    }

    @Test(.timeLimit(.minutes(10))) func aCancelledPauseEndsAtOnce() async {
        let task = Task {
            var backoff = Backoff(first: .seconds(3_600), longest: .seconds(3_600))
            try await backoff.pause()
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }
}
