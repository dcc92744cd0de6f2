import LedgerCore

/// How many events to fold in one transaction.
///
/// A live projection folds the few events that there are. One that is behind folds many at once: a
/// transaction updates the row of each job once, however many of the job's events it holds. The
/// time of a window is bounded, so that a stop or a lost lease does not wait long.
struct AdaptiveWindow: Sendable, Equatable {
    private static let first: Int64 = 10_000
    private static let short = Duration.milliseconds(250)
    private static let long = Duration.milliseconds(1000)

    let largest: Int64
    private(set) var size: Int64

    /// - Parameter largest: the most events of a window, whatever time they take.
    init(largest: Int64) {
        self.largest = largest
        size = min(Self.first, largest)
    }

    /// Adapts the size to a window of `events` that took `time`. A window that was not full says
    /// nothing about larger ones.
    mutating func folded(_ events: Int64, in time: Duration) {
        if time > Self.long {
            timedOut()
        } else if time < Self.short, events >= size {
            size = min(size * 2, largest)
        }
    }

    /// Halves the size, because a window took too long or timed out.
    mutating func timedOut() { size = max(1, size / 2) }
}
