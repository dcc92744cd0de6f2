package import EventStore

/// No assertion of a test may depend on a renewal that comes in time, because a busy machine can
/// delay it by seconds. So tests use one of two kinds of lease times.
extension LeaseTimes {
    /// For processes that compete. Renewals and attempts are frequent, so a lease that was released
    /// is taken over within milliseconds. But a holder keeps its lease on the busiest machine: it
    /// is lost only if no renewal comes for half a minute.
    package static let kept = LeaseTimes(duration: .seconds(30), renewal: .milliseconds(100))

    /// For a lease that runs out because its holder was killed, or that nobody else wants. Tests
    /// must not count on a holder with competitors that keeps such a lease.
    package static let brief = LeaseTimes(duration: .milliseconds(300), renewal: .milliseconds(100))
}
