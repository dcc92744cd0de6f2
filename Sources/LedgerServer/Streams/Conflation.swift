import LedgerCore

/// Reduces progress: of each job only the latest event goes out, at most a given number of times a
/// second. Events of other categories all go out. A plain value: the caller tells it the time.
///
/// Events always go out in the log's order: before an event of another type, everything that was
/// held back goes out. So the last position that went out tells what the client has seen, and a
/// client that resumes there misses nothing.
///
/// It holds at most ``maxBytes`` bytes. If the latest events of all jobs are larger than that, they
/// go out more often.
struct Conflation {
    /// As much as a feed buffers for a subscription.
    static let maxBytes = 256 << 10

    private let interval: Duration
    private var held: [JobID: FeedEvent] = [:]
    /// The bytes of the held events' JSON.
    private(set) var heldBytes = 0
    private var due: ContinuousClock.Instant?

    /// - Parameter rate: how often events go out, per second.
    init(rate: Double) { interval = .seconds(1) / rate }

    /// When the held events should go out; `nil` if there are none.
    var deadline: ContinuousClock.Instant? { held.isEmpty ? nil : due }

    /// Adds `events`, and returns what goes out now.
    mutating func take(_ events: [FeedEvent], at now: ContinuousClock.Instant) -> [FeedEvent] {
        var out: [FeedEvent] = []
        for event in events {
            if event.type == .progress, event.category == .job {
                heldBytes += event.json.count - (held.updateValue(event, forKey: event.job)?.json.count ?? 0)
                if heldBytes > Self.maxBytes { out += release() }
            } else {
                out += release()
                out.append(event)
            }
        }
        return out + take(at: now)
    }

    /// What goes out because its time has come.
    mutating func take(at now: ContinuousClock.Instant) -> [FeedEvent] {
        if let due, now < due { return [] }
        guard !held.isEmpty else { return [] }
        due = now.advanced(by: interval)
        return release()
    }

    /// Everything that is held, at the end of the stream.
    mutating func release() -> [FeedEvent] {
        defer {
            held.removeAll(keepingCapacity: true)
            heldBytes = 0
        }
        return held.values.sorted { $0.position < $1.position }
    }
}
