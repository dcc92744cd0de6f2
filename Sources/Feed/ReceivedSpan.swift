import LedgerCore

/// The span of the log that a feed has received without a gap: a plain value. Every position that
/// it is given is one of `Position.positions`.
struct ReceivedSpan: Sendable {
    /// Every event after `from`, up to and including `upTo`, was received.
    private var run: (from: Position, upTo: Position)?
    /// The last position that was received or announced.
    var last: Position { run?.upTo ?? 0 }

    /// The last beat: the head, and when it arrived.
    private var beat: (position: Position, at: ContinuousClock.Instant)?

    /// The relay announces the head at least every second. If no beat has arrived for this long,
    /// the absence of messages proves nothing.
    static let longestSilence = Duration.milliseconds(1500)

    /// Records an event. Returns the position after which everything up to this event was received.
    mutating func receive(_ position: Position) -> Position {
        guard let (from, upTo) = run, position <= upTo + 1 else {
            run = (position - 1, position)
            return position - 1
        }
        run = (from, max(upTo, position))
        return position > from ? from : position - 1
    }

    /// Records an event that arrived without its data: it counts as not received.
    mutating func receiveNotice(_ position: Position) {
        if position > run?.upTo ?? 0 { run = (position, position) }
    }

    /// Records a beat, which the relay sends after the events. Returns whether an event up to it is
    /// missing, given that this feed should receive all of them.
    mutating func beat(_ position: Position, at now: ContinuousClock.Instant) -> Bool {
        beat = (position, now)
        guard position > run?.upTo ?? 0 else { return false }
        run = (position, position)
        return true
    }

    /// The connection was cut, so messages may have been lost.
    mutating func cut() { (run, beat) = (nil, nil) }

    /// The head that the relay last announced: every event up to it was delivered to its
    /// subscribers or lost. `nil` if no beat arrived recently.
    func announcedHead(at now: ContinuousClock.Instant) -> Position? {
        beat.flatMap { $0.at.duration(to: now) < Self.longestSilence ? $0.position : nil }
    }
}
