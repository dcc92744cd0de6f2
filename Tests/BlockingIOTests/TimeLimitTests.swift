import BlockingIO
import Testing

@Suite(.timeLimit(.minutes(10))) struct TimeLimitTests {
    private struct Late: Error {}

    @Test func whatIsInTimeIsReturned() async throws {
        #expect(try await withTimeLimit(.seconds(600), orThrow: Late()) { 42 } == 42)
        await #expect(throws: CancellationError.self) {
            try await withTimeLimit(.seconds(600), orThrow: Late()) { throw CancellationError() }
        }
    }

    /// What takes longer is cancelled, and has ended when the error comes.
    @Test func whatTakesLongerIsCancelled() async throws {
        let ended = Locked(false)
        await #expect(throws: Late.self) {
            try await withTimeLimit(.milliseconds(1), orThrow: Late()) {
                defer { ended.withLock { $0 = true } }
                try await Task.sleep(for: .seconds(600))
            }
        }
        #expect(ended.withLock { $0 })
    }

    @Test func aCancelledCallerEndsIt() async throws {
        let task = Task {
            try await withTimeLimit(.seconds(600), orThrow: Late()) { try await Task.sleep(for: .seconds(600)) }
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }
}
