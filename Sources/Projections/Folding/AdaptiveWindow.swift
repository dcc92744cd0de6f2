import LedgerCore

/// How many events to fold in one transaction: few when live, for there are no more; many when
/// behind, for each transaction updates a row of every job it meets once, however many of the job's
/// events it holds. Bounded by time, so that a stop or a lost lease does not wait long.
struct AdaptiveWindow: Sendable, Equatable {
    private static let first: Int64 = 10_000
    private static let short = Duration.milliseconds(250)
    private static let long = Duration.milliseconds(1000)

    let largest: Int64
    private(set) var size: Int64

    /// - Parameter largest: the most events, whatever the time they take.
    init(largest: Int64) {
        self.largest = largest
        size = min(Self.first, largest)
    }

    /// A window of `events` took `time`. One that was not full says nothing about larger ones.
    mutating func folded(_ events: Int64, in time: Duration) {
        if time > Self.long {
            gaveUp()
        } else if time < Self.short, events >= size {
            size = min(size * 2, largest)
        }
    }

    /// A window took longer than anybody waits.
    mutating func gaveUp() { size = max(1, size / 2) }
}
