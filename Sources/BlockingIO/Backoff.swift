/// Waits between attempts that double up to a limit, each with jitter so that many clients do not
/// return at once.
package struct Backoff: Sendable {
    package let first: Duration
    package let longest: Duration
    private var next: Duration

    package init(first: Duration = .milliseconds(50), longest: Duration = .seconds(2)) {
        self.first = first
        self.longest = longest
        next = first
    }

    /// The wait before the next attempt: between a half and the whole of the current step.
    package mutating func advance() -> Duration {
        let step = next
        next = min(next * 2, longest)
        return step / 2 + (step / 2) * Double.random(in: 0...1)
    }

    package mutating func reset() { next = first }

    /// Sleeps for the next wait; throws `CancellationError` when the task is cancelled meanwhile.
    package mutating func pause() async throws {
        try await Task.sleep(for: advance())
    }
}
