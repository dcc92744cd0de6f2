/// Waits between attempts. Each wait is twice as long as the one before, up to a limit, and has
/// jitter so that many clients do not come back at the same moment.
package struct Backoff: Sendable {
    package let first: Duration
    package let longest: Duration
    private var next: Duration

    /// The standard limit keeps what waits for a server from adding much to a failover: whoever
    /// waits notices the new server within half a second.
    package init(first: Duration = .milliseconds(50), longest: Duration = .milliseconds(500)) {
        self.first = first
        self.longest = longest
        next = first
    }

    /// Returns the wait before the next attempt, a random time from half of the current step to all
    /// of it, and doubles the step.
    package mutating func advance() -> Duration {
        let step = next
        next = min(next * 2, longest)
        return step / 2 + (step / 2) * Double.random(in: 0...1)
    }

    /// Starts again with the first step, after an attempt that succeeded.
    package mutating func reset() { next = first }

    /// Sleeps for the next wait.
    /// - Throws: `CancellationError` when the task is cancelled meanwhile.
    package mutating func pause() async throws {
        try await Task.sleep(for: advance())
    }
}
