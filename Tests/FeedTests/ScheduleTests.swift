import LedgerCore
import LedgerTesting
import Testing

@testable import Feed

/// Random schedules of loss, repetition, delay, reordering, cut connections, beats, slow reads and
/// slow consumers, without network or clock. Every subscription gets every event once and in order,
/// and no consumer sleeps on when there is something for it.
@Suite struct ScheduleTests {
    @Test func everyEventOnceInOrder() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("schedules: seed \(seed)")
        var all = Delivery<Position>.Tally()
        for number in 0..<1000 {
            var schedule = Schedule(seed: seed &+ UInt64(number))
            for _ in 0..<300 { schedule.step() }
            schedule.finish()
            for subscriber in schedule.subscribers {
                let expected = schedule.log.filter(subscriber.wants).map(\.position)
                #expect(subscriber.taken == expected, "\(subscriber.kind), seed \(seed) + \(number)")
                all += subscriber.delivery.tally
                if subscriber.taken != expected { return }
            }
        }
        print("\(all)")
        #expect(all.gaps > 100 && all.refilled > 1000 && all.overflows > 30, "too few faults happened: \(all)")
    }
}

private struct Entry: Sendable {
    var position: Position
    var job: Int
    var version: Int64
    var isFlagged: Bool
}

private enum Kind: CaseIterable { case everything, types, oneJob, oneJobTypes, severalJobs, severalJobsTypes }

private struct TestSubscriber {
    let kind: Kind
    var delivery = Delivery<Position>(after: .init(number: 0, position: 0), maxEvents: 2, maxBytes: 1000)
    var taken: [Position] = []
    var isAsleep = false
    /// A read under way, and the head it sees, once that is settled.
    var read: (after: Delivery<Position>.Mark, head: Int?)?

    var countsVersions: Bool { kind == .oneJob || kind == .oneJobTypes }
    func concerns(_ entry: Entry) -> Bool {
        switch kind {
        case .everything, .types: true
        case .oneJob, .oneJobTypes: entry.job == 0
        case .severalJobs, .severalJobsTypes: entry.job < 2
        }
    }
    func wants(_ entry: Entry) -> Bool {
        concerns(entry) && (entry.isFlagged || kind == .everything || kind == .oneJob || kind == .severalJobs)
    }
    func mark(_ entry: Entry) -> Delivery<Position>.Mark {
        .init(number: countsVersions ? entry.version : entry.position, position: entry.position)
    }

    mutating func put(_ body: (inout Delivery<Position>) -> Bool) {
        if body(&delivery) { isAsleep = false }
    }

    /// The consumer's next step, if it is not asleep.
    mutating func nextStep() {
        guard !isAsleep, read == nil else { return }
        switch delivery.nextStep() {
        case .take(let events): taken += events
        case .read(let mark): read = (mark, nil)
        case .wait: isAsleep = true
        case .end: break
        }
    }

    /// Ends the read with a page of at most three events, of the part of the log that it sees.
    mutating func finishRead(_ log: [Entry]) {
        guard let (after, head) = read else { return }
        let visible = log.prefix(head ?? log.count)
        let events = Array(visible.filter { wants($0) && $0.position > after.position }.prefix(3))
        let hasMore = events.count == 3
        let concerned = visible.last(where: concerns)
        let end = Delivery<Position>.Mark(
            number: countsVersions ? concerned?.version ?? 0 : Int64(visible.count), position: Int64(visible.count))
        _ = delivery.finishRead(
            .init(events: events.map(\.position), through: hasMore ? mark(events[2]) : end, hasMore: hasMore))
        read = nil
    }
}

private struct Schedule {
    private enum Message {
        case event(Entry)
        case beat(Position)
    }

    private var random: SeededGenerator
    private(set) var log: [Entry] = []
    private(set) var subscribers = Kind.allCases.map { TestSubscriber(kind: $0) }
    private var wire: [Message] = []
    private var receivedSpan = ReceivedSpan()
    private let now = ContinuousClock.now

    /// The percentages of messages that are lost, and that arrive out of order.
    private let (loss, disorder): (UInt64, UInt64)
    /// A read may miss up to this many of the last events, as on a replica.
    private let lag: UInt64

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        lag = [1, 1, 6][Int(random.below(3))]
        (loss, disorder) = ([0, 2, 15][Int(random.below(3))], [0, 2, 15][Int(random.below(3))])
    }

    private mutating func chance(_ percent: UInt64) -> Bool { random.below(100) < percent }

    mutating func step() {
        switch random.below(100) {
        case 0..<30: append()
        // More than is appended, so that the wire is sometimes empty.
        case 30..<60: for _ in 0...random.below(8) { deliver() }
        case 60..<62:
            wire = []
            receivedSpan.cut()
        case 62..<64:
            let index = Int(random.below(UInt64(subscribers.count)))
            subscribers[index].put { $0.suspectGap() }
        default:
            let index = Int(random.below(UInt64(subscribers.count)))
            consume(index)
        }
    }

    private mutating func append() {
        for _ in 0...random.below(3) {
            let job = Int(random.below(4))
            let entry = Entry(
                position: Position(log.count + 1), job: job, version: Int64(log.count { $0.job == job } + 1),
                isFlagged: chance(30))
            log.append(entry)
            if !chance(loss) { wire.append(.event(entry)) }
            if chance(10) { wire.append(.event(entry)) }
        }
        if chance(70) { wire.append(.beat(Position(log.count))) }
    }

    private mutating func deliver() {
        guard !wire.isEmpty else { return }
        switch wire.remove(at: !chance(disorder) ? 0 : Int(random.below(UInt64(wire.count)))) {
        case .event(let entry) where chance(5):
            // Its data is too large for a message.
            receivedSpan.receiveNotice(entry.position)
            for index in subscribers.indices where subscribers[index].concerns(entry) {
                let number = subscribers[index].mark(entry).number
                subscribers[index].put { $0.announce(upTo: number, shouldBeKnown: false) }
            }
        case .event(let entry):
            let follows = receivedSpan.receive(entry.position)
            for index in subscribers.indices where subscribers[index].concerns(entry) {
                let subscriber = subscribers[index]
                let received = Delivery<Position>.Received(
                    mark: subscriber.mark(entry), follows: subscriber.countsVersions ? entry.version - 1 : follows,
                    event: subscriber.wants(entry) ? entry.position : nil, bytes: 1)
                subscribers[index].put { $0.receive(received) }
            }
        // A beat says what should have arrived only if nothing overtook it; the span decides that.
        case .beat(let position):
            guard receivedSpan.beat(position, at: now) else { return }
            for index in subscribers.indices where !subscribers[index].countsVersions {
                subscribers[index].put { $0.announce(upTo: position, shouldBeKnown: true) }
            }
        }
    }

    private mutating func consume(_ index: Int) {
        if subscribers[index].read == nil { return subscribers[index].nextStep() }
        switch random.below(10) {
        // Often what a read sees is settled long before its result arrives.
        case 0..<4: settle(index)
        case 4:
            subscribers[index].delivery.readFailed()
            subscribers[index].read = nil
        default:
            settle(index)
            subscribers[index].finishRead(log)
        }
    }

    private mutating func settle(_ index: Int) {
        let head = max(0, log.count - Int(random.below(lag)))
        if subscribers[index].read?.head == nil { subscribers[index].read?.head = head }
    }

    /// No message is on its way any more, and the feed has polled Postgres once and announced what
    /// there is.
    mutating func finish() {
        for index in subscribers.indices {
            let last = log.last(where: subscribers[index].concerns)
            let number = last.map { subscribers[index].mark($0).number } ?? 0
            subscribers[index].put { $0.announce(upTo: number, shouldBeKnown: true) }
            for _ in 0..<1000 {
                subscribers[index].nextStep()
                subscribers[index].finishRead(log)
            }
        }
    }
}
