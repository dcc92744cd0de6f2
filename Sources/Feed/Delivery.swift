import LedgerCore

/// What one subscription has, what it lacks, and what is to be done next: a plain value, without network or clock.
///
/// Each event has a number, and says behind which number it follows: of the log as a whole it is the position, of a single job the
/// version. An event that follows what is known is the next one; one that is known has come twice; anything else shows that something
/// between is missing. What is missing is not waited for: whatever was announced has been committed before, so a look at the log, begun
/// now, finds it. That is why nothing is kept while the subscription is ``Phase/behind``, and why what comes during a look is held: it may be
/// newer than what the look sees. A replica of the log may be late: a look that does not come as far as what was announced and not held
/// does not count.
///
///     behind ──ask──▶ looking ──saw, to the end──▶ live ──a hole, doubt, no room──▶ behind
///        ▲               │ failed, or more to come
///        └───────────────┘                                  over, from anywhere: the last event has come, or the feed stopped
struct Delivery<Event: Sendable>: Sendable {
    /// A place: the number that counts, and the position in the log, from which a look starts.
    struct Mark: Sendable, Equatable {
        var number: Int64
        var position: Position
    }

    /// Something that was heard.
    struct Heard: Sendable {
        var mark: Mark
        /// Everything that is numbered between this and `mark` does not concern the subscription, or has been told before.
        var follows: Int64
        /// `nil` where the subscription does not want to see it.
        var event: Event?
        var bytes: Int
        /// Whether nothing can come behind it.
        var isLast = false
    }

    /// What a look at the log, begun at the mark that ``Step/look(after:)`` named, has found.
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
        case behind
        /// A look is under way. What is heard meanwhile is held, as long as there is room.
        case looking(Held)
        case live
        case over
    }

    struct Held: Sendable {
        /// What was announced and is not held: so far a look has to come.
        var needed: Int64
        var heard: [Heard] = []
        var bytes = 0
        /// Something may be missing that nobody announced: look again.
        var isDoubtful = false
    }

    /// What the consumer is to do.
    enum Step: Sendable {
        case take([Event])
        case look(after: Mark)
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

    private(set) var phase = Phase.behind
    /// Everything up to here has been taken, or is ready, or is not wanted.
    private(set) var known: Mark
    private(set) var ready: [Event] = []
    /// The highest number that was heard, or told to be there.
    private(set) var announced: Int64
    private(set) var tally = Tally()
    /// Of what is ready, what was heard: a page is bounded by who reads it.
    private var heardReady = (events: 0, bytes: 0)
    private var isWaiting = false
    private var hasBeenLive = false
    private var wasStopped = false
    private let most: (events: Int, bytes: Int)

    init(after known: Mark, mostEvents: Int, mostBytes: Int) {
        self.known = known
        announced = known.number
        most = (mostEvents, mostBytes)
    }

    // MARK: From the feed. Each returns whether the consumer is to be woken.

    mutating func hear(_ heard: Heard) -> Bool {
        announced = max(announced, heard.mark.number)
        switch phase {
        case .behind, .over: break
        case .looking(var held):
            // Emptied first, so that the array is not copied.
            phase = .behind
            held.add(heard, most)
            phase = .looking(held)
        case .live: take(heard)
        }
        return wake()
    }

    /// There are events up to `number`.
    /// - Parameter shouldBeKnown: whether they have been published, so that one that is not known is missing.
    mutating func tell(upTo number: Int64, shouldBeKnown: Bool) -> Bool {
        announced = max(announced, number)
        guard number > known.number else { return false }
        switch phase {
        case .behind, .over: break
        case .looking(var held):
            phase = .behind
            held.needed = max(held.needed, number)
            phase = .looking(held)
        case .live: if shouldBeKnown { fallBehind(\.gaps) } else { phase = .behind }
        }
        return wake()
    }

    /// Something may have been missed, nobody can say what.
    mutating func doubt() -> Bool {
        switch phase {
        case .behind, .over: break
        case .looking(var held):
            phase = .behind
            held.isDoubtful = true
            phase = .looking(held)
        case .live: phase = .behind
        }
        return wake()
    }

    /// The feed has ended. What is ready is still given.
    mutating func stop() -> Bool {
        if case .over = phase { return false }
        phase = .over
        wasStopped = true
        return wake()
    }

    // MARK: From the consumer, of whom there is one.

    mutating func ask() -> Step {
        if !ready.isEmpty {
            defer { (ready, heardReady) = ([], (0, 0)) }
            return .take(ready)
        }
        switch phase {
        // An earlier look was abandoned.
        case .behind, .looking:
            phase = .looking(Held(needed: announced))
            return .look(after: known)
        case .live:
            isWaiting = true
            return .wait
        case .over: return .end(stopped: wasStopped)
        }
    }

    /// The look has come to its end. False where it found nothing, and there should be something: whoever looks again should wait a little.
    mutating func see(_ page: Page) -> Bool {
        // Where the feed has stopped meanwhile, this is for another time.
        guard let held = lookEnded() else { return true }
        ready += page.events
        if hasBeenLive { tally.refilled += page.events.count }
        if page.through.number > known.number { known = page.through }
        known.position = max(known.position, page.through.position)
        if page.isLast {
            phase = .over
        } else if page.hasMore || page.through.number < held.needed {
            phase = .behind
        } else {
            phase = .live
            hasBeenLive = true
            // What goes wrong among these makes it behind again, and then the rest changes nothing.
            for heard in held.heard { _ = hear(heard) }
            if held.isDoubtful { _ = doubt() }
        }
        return !ready.isEmpty || page.hasMore || page.isLast || page.through.number >= held.needed
    }

    /// The look has failed, or was abandoned.
    mutating func lookFailed() {
        if lookEnded() != nil { phase = .behind }
    }

    // MARK: The inside

    private func lookEnded() -> Held? {
        if case .looking(let held) = phase { held } else { nil }
    }

    private mutating func take(_ heard: Heard) {
        // It has come twice.
        guard heard.mark.number > known.number else { return }
        guard heard.follows <= known.number else { return fallBehind(\.gaps) }
        if let event = heard.event {
            guard heardReady.events < most.events, heardReady.bytes < most.bytes else { return fallBehind(\.overflows) }
            ready.append(event)
            heardReady.events += 1
            heardReady.bytes += heard.bytes
        }
        known = heard.mark
        if heard.isLast { phase = .over }
    }

    private mutating func fallBehind(_ reason: WritableKeyPath<Tally, Int>) {
        phase = .behind
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
    mutating func add(_ heard: Delivery.Heard, _ most: (events: Int, bytes: Int)) {
        guard self.heard.count < most.events, bytes < most.bytes else {
            needed = max(needed, heard.mark.number)
            return
        }
        self.heard.append(heard)
        bytes += heard.bytes
    }
}
