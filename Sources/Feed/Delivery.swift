import LedgerCore

/// What one subscription has, what it lacks, and what is to be done next: a plain value, without
/// network or clock.
///
/// Each event has a number, and says behind which number it follows: of the log as a whole it is
/// the position, of a single job the version. An event that follows what is known is the next one;
/// one that is known has come twice; anything else shows that something between is missing. What is
/// missing is not waited for: whatever was announced has been committed before, so a look at the
/// log, begun now, finds it. That is why nothing is kept while the subscription is
/// ``Phase/catchUp``, and why what comes during a look is held: it may be newer than what the look
/// sees. A replica of the log may be late: a look that does not come as far as what was announced
/// and not held does not count.
///
///     catchUp ──nextStep──▶ reading ──read to the end──▶ live ──a gap, or no room──▶ catchUp
///        ▲                     │ failed, or more to come
///        └─────────────────────┘         ended, from anywhere: the last event, or the feed stopped
struct Delivery<Event: Sendable>: Sendable {
    /// A place: the number that counts, and the position in the log, from which a look starts.
    struct Mark: Sendable, Equatable {
        var number: Int64
        var position: Position
    }

    /// Something that was received.
    struct Received: Sendable {
        var mark: Mark
        /// Everything that is numbered between this and `mark` does not concern the subscription,
        /// or has been told before.
        var follows: Int64
        /// `nil` where the subscription does not want to see it.
        var event: Event?
        var bytes: Int
        /// Whether nothing can come behind it.
        var isLast = false
    }

    /// What a look at the log, begun at the mark that ``Step/read(after:)`` named, has found.
    struct Page: Sendable {
        /// In order, and all that are wanted up to `through`.
        var events: [Event]
        var through: Mark
        /// Whether there may be more behind `through`.
        var hasMore: Bool
        /// Whether nothing can come behind `through`.
        var isLast = false
    }

    enum Phase: Sendable {
        /// A look is due.
        case catchUp
        /// A look is under way. What is received meanwhile is held, as long as there is room.
        case reading(Held)
        case live
        case ended
    }

    struct Held: Sendable {
        /// What was announced and is not held: so far a look has to come.
        var needed: Int64
        var received: [Received] = []
        var bytes = 0
        /// Something may be missing that nobody announced: look again.
        var mayHaveGap = false
    }

    /// What the consumer is to do.
    enum Step: Sendable {
        case take([Event])
        case read(after: Mark)
        /// Until it is woken.
        case wait
        /// There is nothing more; `stopped` where that is not because the events have ended.
        case end(stopped: Bool)
    }

    /// What there is to count.
    struct Tally: Sendable, Equatable {
        var gaps = 0
        var refilled = 0
        var overflows = 0
    }

    private(set) var phase = Phase.catchUp
    /// Everything up to here has been taken, or is ready, or is not wanted.
    private(set) var known: Mark
    private(set) var ready: [Event] = []
    /// The highest number that was received, or told to be there.
    private(set) var announced: Int64
    private(set) var tally = Tally()
    /// Of what is ready, what was received: a page is bounded by who reads it.
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

    // MARK: From the feed. Each returns whether the consumer is to be woken.

    mutating func receive(_ received: Received) -> Bool {
        announced = max(announced, received.mark.number)
        switch phase {
        case .catchUp, .ended: break
        case .reading(var held):
            // Emptied first, so that the array is not copied.
            phase = .catchUp
            held.add(received, limits)
            phase = .reading(held)
        case .live: take(received)
        }
        return wake()
    }

    /// There are events up to `number`.
    /// - Parameter shouldBeKnown: whether they have been published, so that one that is not known
    ///   is missing.
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

    /// Something may have been missed, nobody can say what.
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

    /// The feed has ended. What is ready is still given.
    mutating func stop() -> Bool {
        if case .ended = phase { return false }
        phase = .ended
        wasStopped = true
        return wake()
    }

    // MARK: From the consumer, of whom there is one.

    mutating func nextStep() -> Step {
        if !ready.isEmpty {
            defer { (ready, receivedReady) = ([], (0, 0)) }
            return .take(ready)
        }
        switch phase {
        // An earlier look was abandoned.
        case .catchUp, .reading:
            phase = .reading(Held(needed: announced))
            return .read(after: known)
        case .live:
            isWaiting = true
            return .wait
        case .ended: return .end(stopped: wasStopped)
        }
    }

    /// The look has come to its end. False where it found nothing, and there should be something:
    /// whoever looks again should wait a little.
    mutating func finishRead(_ page: Page) -> Bool {
        // Where the feed has stopped meanwhile, this is for another time.
        guard let held = heldDuringRead() else { return true }
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
            // What goes wrong among these makes it behind again, and then the rest changes nothing.
            for received in held.received { _ = receive(received) }
            if held.mayHaveGap { _ = suspectGap() }
        }
        return !ready.isEmpty || page.hasMore || page.isLast || page.through.number >= held.needed
    }

    /// The look has failed, or was abandoned.
    mutating func readFailed() {
        if heldDuringRead() != nil { phase = .catchUp }
    }

    // MARK: The inside

    private func heldDuringRead() -> Held? {
        if case .reading(let held) = phase { held } else { nil }
    }

    private mutating func take(_ received: Received) {
        // It has come twice.
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

    /// Whether the consumer waits and there is something for it.
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
