/// Waits between attempts that double up to a limit, each with jitter so that many clients do not return at once.
public struct Backoff: Sendable {
    public let first: Duration
    public let longest: Duration
    private var next: Duration

    public init(first: Duration = .milliseconds(50), longest: Duration = .seconds(2)) {
        self.first = first
        self.longest = longest
        next = first
    }

    /// The wait before the next attempt: between a half and the whole of the current step.
    public mutating func advance() -> Duration {
        let step = next
        next = min(next * 2, longest)
        return step / 2 + (step / 2) * Double.random(in: 0...1)
    }

    public mutating func reset() { next = first }

    /// Sleeps for the next wait; throws `CancellationError` when the task is cancelled meanwhile.
    public mutating func pause() async throws {
        try await Task.sleep(for: advance())
    }
}
