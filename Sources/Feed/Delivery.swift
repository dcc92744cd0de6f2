import LedgerCore

/// The state machine of one subscription: what it has, what it lacks, and what to do next. A plain
/// value, without network or clock.
///
/// Each event carries a number, and each received event says which number it follows. A
/// subscription to the log counts positions; a subscription to one stream counts versions. An event
/// that directly follows what is known is the next one. An event that is already known is a repeat.
/// Anything else shows a gap.
///
/// A gap is filled from the log, not waited for: an event is announced only after it is committed,
/// so a read that begins now finds it. For that reason the subscription drops what it receives
/// while it is in ``Phase/catchUp``. During a read it holds what it receives, because that may be
/// newer than what the read sees. The read may go to a replica that lags: a read that does not
/// reach everything that was announced and is not held does not make the subscription live.
///
///     catchUp ──nextStep──▶ reading ──read to the end──▶ live ──a gap, or no room──▶ catchUp
///        ▲                     │ failed, or more to come
///        └─────────────────────┘         ended, from anywhere: the last event, or the feed stopped
struct Delivery<Event: Sendable>: Sendable {
    /// A place in the log: the number that the subscription counts by, and the position from which
    /// a read starts.
    struct Mark: Sendable, Equatable {
        var number: Int64
        var position: Position
    }

    /// An event, or a stretch without events for this subscription, that the feed received.
    struct Received: Sendable {
        var mark: Mark
        /// Nothing between this number and `mark` is missing: whatever lies there does not concern
        /// the subscription or was delivered before.
        var follows: Int64
        /// `nil` if the subscription filters it out.
        var event: Event?
        var bytes: Int
        /// Whether nothing can follow it.
        var isLast = false
    }

    /// The result of a read of the log from the mark that ``Step/read(after:)`` named.
    struct Page: Sendable {
        /// All wanted events up to `through`, in order.
        var events: [Event]
        var through: Mark
        /// Whether there may be more after `through`.
        var hasMore: Bool
        /// Whether nothing can follow `through`.
        var isLast = false
    }

    enum Phase: Sendable {
        /// A read is due.
        case catchUp
        /// A read is under way. What is received meanwhile is held while there is room.
        case reading(Held)
        case live
        case ended
    }

    struct Held: Sendable {
        /// The read must reach this number: the highest that was announced and is not held.
        var needed: Int64
        var received: [Received] = []
        var bytes = 0
        /// An event that nobody announced may be missing, so read again.
        var mayHaveGap = false
    }

    /// What the consumer does next.
    enum Step: Sendable {
        case take([Event])
        case read(after: Mark)
        /// Wait until woken.
        case wait
        /// There is nothing more. `stopped` means that the feed stopped, not that the events ended.
        case end(stopped: Bool)
    }

    /// The counts for ``FeedFigures``.
    struct Tally: Sendable, Equatable {
        var gaps = 0
        var refilled = 0
        var overflows = 0
    }

    private(set) var phase = Phase.catchUp
    /// Every wanted event up to here has been taken or is ready.
    private(set) var known: Mark
    private(set) var ready: [Event] = []
    /// The highest number that was received or announced.
    private(set) var announced: Int64
    private(set) var tally = Tally()
    /// The part of `ready` that was received. Pages do not count: their reader bounds them.
    private var receivedReady = (events: 0, bytes: 0)
    private var isWaiting = false
    private var hasBeenLive = false
    private var wasStopped = false
    private let limits: (events: Int, bytes: Int)

    init(after known: Mark, maxEvents: Int, maxBytes: Int) {
        self.known = known
        announced = known.number
        limits = (maxEvents, maxBytes)
    }

    // MARK: Called by the feed. Each returns whether to wake the consumer.

    mutating func receive(_ received: Received) -> Bool {
        announced = max(announced, received.mark.number)
        switch phase {
        case .catchUp, .ended: break
        case .reading(var held):
            // Drop the second reference first, so that the array is not copied.
            phase = .catchUp
            held.add(received, limits)
            phase = .reading(held)
        case .live: take(received)
        }
        return wake()
    }

    /// Events up to `number` exist.
    /// - Parameter shouldBeKnown: whether they were published, so that one that is not known is
    ///   missing.
    mutating func announce(upTo number: Int64, shouldBeKnown: Bool) -> Bool {
        announced = max(announced, number)
        guard number > known.number else { return false }
        switch phase {
        case .catchUp, .ended: break
        case .reading(var held):
            phase = .catchUp
            held.needed = max(held.needed, number)
            phase = .reading(held)
        case .live: if shouldBeKnown { fallBehind(\.gaps) } else { phase = .catchUp }
        }
        return wake()
    }

    /// Something may have been missed, but it is not known what.
    mutating func suspectGap() -> Bool {
        switch phase {
        case .catchUp, .ended: break
        case .reading(var held):
            phase = .catchUp
            held.mayHaveGap = true
            phase = .reading(held)
        case .live: phase = .catchUp
        }
        return wake()
    }

    /// The feed has stopped. What is ready is still delivered.
    mutating func stop() -> Bool {
        if case .ended = phase { return false }
        phase = .ended
        wasStopped = true
        return wake()
    }

    // MARK: Called by the one consumer

    mutating func nextStep() -> Step {
        if !ready.isEmpty {
            defer { (ready, receivedReady) = ([], (0, 0)) }
            return .take(ready)
        }
        switch phase {
        // In `reading`: an earlier read was abandoned.
        case .catchUp, .reading:
            phase = .reading(Held(needed: announced))
            return .read(after: known)
        case .live:
            isWaiting = true
            return .wait
        case .ended: return .end(stopped: wasStopped)
        }
    }

    /// Ends a read. Returns false if it found nothing although there should be something: the
    /// caller should pause before it reads again.
    /// - Parameter isOfNewEpoch: whether the read was the first in another epoch. What was
    ///   announced and held in the epoch before may be of events that the log lost, so it is
    ///   dropped.
    mutating func finishRead(_ page: Page, isOfNewEpoch: Bool = false) -> Bool {
        // The feed stopped during the read, so its result is not needed.
        guard var held = heldDuringRead() else { return true }
        if isOfNewEpoch {
            held = Held(needed: page.through.number, mayHaveGap: true)
            announced = max(known.number, page.through.number)
        }
        ready += page.events
        if hasBeenLive { tally.refilled += page.events.count }
        if page.through.number > known.number { known = page.through }
        known.position = max(known.position, page.through.position)
        if page.isLast {
            phase = .ended
        } else if page.hasMore || page.through.number < held.needed {
            phase = .catchUp
        } else {
            phase = .live
            hasBeenLive = true
            // A gap among these returns the machine to `catchUp`, which ignores the rest.
            for received in held.received { _ = receive(received) }
            if held.mayHaveGap { _ = suspectGap() }
        }
        return !ready.isEmpty || page.hasMore || page.isLast || page.through.number >= held.needed
    }

    /// The log lost events behind a position, and nothing behind it was taken: continues there.
    /// - Parameter mark: its number is 0 where the next read is to determine it.
    mutating func goBack(to mark: Mark) {
        guard heldDuringRead() != nil else { return }
        (known, announced) = (mark, mark.number)
        phase = .catchUp
    }

    /// The read failed or was abandoned.
    mutating func readFailed() {
        if heldDuringRead() != nil { phase = .catchUp }
    }

    // MARK: Transitions

    private func heldDuringRead() -> Held? {
        if case .reading(let held) = phase { held } else { nil }
    }

    private mutating func take(_ received: Received) {
        // A repeat.
        guard received.mark.number > known.number else { return }
        guard received.follows <= known.number else { return fallBehind(\.gaps) }
        if let event = received.event {
            guard receivedReady.events < limits.events, receivedReady.bytes < limits.bytes else {
                return fallBehind(\.overflows)
            }
            ready.append(event)
            receivedReady.events += 1
            receivedReady.bytes += received.bytes
        }
        known = received.mark
        if received.isLast { phase = .ended }
    }

    private mutating func fallBehind(_ reason: WritableKeyPath<Tally, Int>) {
        phase = .catchUp
        tally[keyPath: reason] += 1
    }

    /// Whether the consumer waits and there is now something for it to do.
    private mutating func wake() -> Bool {
        guard isWaiting else { return false }
        if case .live = phase, ready.isEmpty { return false }
        isWaiting = false
        return true
    }
}

extension Delivery.Held {
    mutating func add(_ received: Delivery.Received, _ limits: (events: Int, bytes: Int)) {
        guard self.received.count < limits.events, bytes < limits.bytes else {
            needed = max(needed, received.mark.number)
            return
        }
        self.received.append(received)
        bytes += received.bytes
    }
}
