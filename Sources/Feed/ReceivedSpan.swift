import LedgerCore

/// What a feed has received of the log as a whole: a plain value. Every position that it is told is
/// one of `Position.positions`.
struct ReceivedSpan: Sendable {
    /// Every event behind `from`, up to `upTo`, has been received.
    private var run: (from: Position, upTo: Position)?
    /// The last position that was received, or announced.
    var last: Position { run?.upTo ?? 0 }

    /// When the head was told last, and where it was.
    private var beat: (position: Position, at: ContinuousClock.Instant)?

    /// The relay tells the head at least every second. When it does not, or not to us, nothing that
    /// we do not receive means anything.
    static let longestSilence = Duration.milliseconds(1500)

    /// An event has come. Returns the position behind which everything up to this one has been
    /// received.
    mutating func receive(_ position: Position) -> Position {
        guard let (from, upTo) = run, position <= upTo + 1 else {
            run = (position - 1, position)
            return position - 1
        }
        run = (from, max(upTo, position))
        return position > from ? from : position - 1
    }

    /// An event has come of which not everything was said: it counts as not received.
    mutating func receiveNotice(_ position: Position) {
        if position > run?.upTo ?? 0 { run = (position, position) }
    }

    /// The head has come, behind its events. Returns whether one of them is missing, if all of them
    /// had to come here.
    mutating func beat(_ position: Position, at now: ContinuousClock.Instant) -> Bool {
        beat = (position, now)
        guard position > run?.upTo ?? 0 else { return false }
        run = (position, position)
        return true
    }

    /// The line was cut: some things have not been received.
    mutating func cut() { (run, beat) = (nil, nil) }

    /// Everything up to here has been told to whom it concerns, or was lost; `nil` where nobody
    /// tells anything.
    func announcedHead(at now: ContinuousClock.Instant) -> Position? {
        beat.flatMap { $0.at.duration(to: now) < Self.longestSilence ? $0.position : nil }
    }
}
