import LedgerCore

/// Keeps of each job's progress the latest, so many times a second. A plain value: it is told the
/// time.
///
/// Events go out in the log's order always: before an event of another kind, what was held back of
/// all jobs goes first. So the last position that went out says what has been seen, and a client
/// that resumes from there has missed nothing.
///
/// It holds ``maxBytes`` bytes. Where the latest of all jobs is more than that, it goes out more often.
struct Conflation {
    /// As much as a feed holds for a subscription.
    static let maxBytes = 256 << 10

    private let interval: Duration
    private var held: [JobID: FeedEvent] = [:]
    /// Of their JSON.
    private(set) var heldBytes = 0
    private var due: ContinuousClock.Instant?

    /// - Parameter rate: a second.
    init(rate: Double) { interval = .seconds(1) / rate }

    /// When the events that are held back should go out; `nil` where there are none.
    var deadline: ContinuousClock.Instant? { held.isEmpty ? nil : due }

    /// What goes out now of `events`.
    mutating func take(_ events: [FeedEvent], at now: ContinuousClock.Instant) -> [FeedEvent] {
        var out: [FeedEvent] = []
        for event in events {
            if event.type == .progress {
                heldBytes += event.json.count - (held.updateValue(event, forKey: event.job)?.json.count ?? 0)
                if heldBytes > Self.maxBytes { out += release() }
            } else {
                out += release()
                out.append(event)
            }
        }
        return out + take(at: now)
    }

    /// What goes out now that time has passed.
    mutating func take(at now: ContinuousClock.Instant) -> [FeedEvent] {
        if let due, now < due { return [] }
        guard !held.isEmpty else { return [] }
        due = now.advanced(by: interval)
        return release()
    }

    /// All that is held: what goes out now that it is over.
    mutating func release() -> [FeedEvent] {
        defer {
            held.removeAll(keepingCapacity: true)
            heldBytes = 0
        }
        return held.values.sorted { $0.position < $1.position }
    }
}
