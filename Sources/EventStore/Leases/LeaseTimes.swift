/// How long a lease lasts, and how often its holder renews it.
package struct LeaseTimes: Sendable, Equatable {
    /// A holder that was killed is replaced when this time has passed since its last renewal.
    package let duration: Duration
    package let renewal: Duration
    /// How long a process that stands by waits between two attempts to take the lease.
    package var retry: Duration { renewal / 2 }

    /// The durations that the ledger can keep. The SQL functions count in whole milliseconds, and
    /// cut what is longer than `longest_lease()` without an error.
    package static let durations = Duration.milliseconds(1)...Duration.seconds(60)

    package static let standard = LeaseTimes(duration: .seconds(3), renewal: .seconds(1))

    /// - Parameters:
    ///   - duration: one of ``durations``.
    ///   - renewal: shorter than the duration, or the lease would run out between two renewals.
    package init(duration: Duration, renewal: Duration) {
        precondition(Self.durations.contains(duration), "a lease cannot last \(duration)")
        precondition(renewal > .zero && renewal < duration, "a lease of \(duration) is renewed after \(renewal)")
        self.duration = duration
        self.renewal = renewal
    }

    /// The duration in whole milliseconds, as statements pass it to the ledger.
    package var milliseconds: Int64 { Int64(duration / .milliseconds(1)) }
}
