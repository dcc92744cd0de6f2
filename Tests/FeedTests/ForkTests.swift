import LedgerCore
import LedgerTesting
import Testing

@testable import Feed

/// Random schedules of a log with forks, without network or clock: failovers that lose events and
/// failovers that lose none, old primaries that go on, and readers that come and go with a place.
///
/// In the end each reader's sequence is that of the surviving log. Whenever it had something else,
/// it was told from which position on.
@Suite struct ForkTests {
    @Test func eachReaderEndsWithTheSurvivingLog() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("forks: seed \(seed)")
        var (divergences, exact, silent) = (0, 0, 0)
        for number in 0..<1000 {
            var schedule = ForkSchedule(seed: seed &+ UInt64(number))
            for _ in 0..<250 { schedule.step() }
            schedule.finish()
            for reader in schedule.readers {
                let expected = schedule.primary.log.filter(reader.wants)
                let place: Comment = "\(reader.kind), seed \(seed) + \(number)"
                #expect(reader.events == expected, place)
                #expect(reader.wrong.isEmpty, place)
                if reader.events != expected || !reader.wrong.isEmpty { return }
                divergences += reader.divergences
                exact += reader.exact
                silent += reader.silent
            }
        }
        print("\(divergences) divergences, \(exact) of them exact; \(silent) epochs taken over in silence")
        #expect(divergences > 1000 && exact > 200 && silent > 1000, "too little happened")
    }
}

private struct Entry: Sendable, Equatable {
    /// What tells it from another event at its position.
    var id: UInt64
    var position: Position
    var job: Int
    var version: Int64
}

private struct Server {
    var log: [Entry] = []
    var epochs = EpochModel([.init(digits: EpochDigits("00000001")!, first: 1)])
    /// Whether the epoch of this server's timeline has begun.
    var hasBegun = true

    var head: Position { Int64(log.count) }
    var epoch: EpochDigits { epochs.epochs[epochs.epochs.count - 1].digits }

    mutating func append(_ random: inout SeededGenerator) {
        if !hasBegun {
            let text = String(UInt32(truncatingIfNeeded: random.next()), radix: 16)
            let digits = EpochDigits(String(repeating: "0", count: 8 - text.count) + text)!
            epochs.begin(digits, first: head + 1)
            hasBegun = true
        }
        let job = Int(random.below(3))
        let version = Int64(log.count(where: { $0.job == job })) + 1
        log.append(Entry(id: random.next(), position: head + 1, job: job, version: version))
    }

    /// A standby that has not received the last events is promoted. An epoch commits with its first
    /// event.
    func promoted(losing count: Int) -> Server {
        var server = self
        server.log.removeLast(min(count, log.count))
        let head = server.head
        server.epochs.epochs.removeAll { $0.first > max(1, head) }
        server.hasBegun = false
        return server
    }
}

private enum Kind: CaseIterable { case everything, oneJob, twoJobs }

private struct Reader {
    let kind: Kind
    var events: [Entry] = []
    var place = Place(0)
    private(set) var delivery: Delivery<Entry>
    /// The epoch of the last read.
    private var epoch: EpochDigits?
    /// A read under way, of the log as it was when it began.
    private var reading: (after: Delivery<Entry>.Mark, server: Server)?
    /// An old primary that it still reads; `nil` for the present one.
    var old: Int?
    private(set) var divergences = 0
    private(set) var exact = 0
    private(set) var silent = 0
    /// What it was told that is not so.
    private(set) var wrong: [String] = []

    init(_ kind: Kind) {
        self.kind = kind
        delivery = Self.delivery(kind, after: 0)
    }

    private static func mark(_ kind: Kind, _ position: Position) -> Delivery<Entry>.Mark {
        .init(number: kind == .oneJob ? 0 : position, position: position)
    }

    private static func delivery(_ kind: Kind, after position: Position) -> Delivery<Entry> {
        Delivery(after: mark(kind, position), maxEvents: 3, maxBytes: 1000)
    }

    func wants(_ entry: Entry) -> Bool {
        switch kind {
        case .everything: true
        case .oneJob: entry.job == 0
        case .twoJobs: entry.job < 2
        }
    }

    /// It forgets everything but its events and its place.
    mutating func restart() {
        delivery = Self.delivery(kind, after: place.position)
        epoch = nil
        reading = nil
    }

    mutating func hear(_ entry: Entry, of server: Server) {
        // The code of a message is that of its epoch.
        guard epoch == server.epoch, wants(entry) || kind != .oneJob else { return }
        let number = kind == .oneJob ? entry.version : entry.position
        _ = delivery.receive(
            .init(
                mark: .init(number: number, position: entry.position), follows: number - 1,
                event: wants(entry) ? entry : nil, bytes: 1))
    }

    mutating func suspect() { _ = delivery.suspectGap() }

    /// - Returns: whether it has nothing to do.
    mutating func step(_ server: Server) -> Bool {
        if let (mark, server) = reading {
            reading = nil
            read(server, after: mark)
            return false
        }
        switch delivery.nextStep() {
        case .take(let taken):
            events += taken
            place = Place(taken.last?.position ?? place.position, epoch: epoch)
            return false
        case .read(let mark):
            reading = (mark, server)
            return false
        case .wait, .end: return true
        }
    }

    private mutating func read(_ server: Server, after mark: Delivery<Entry>.Mark) {
        let history = Place(mark.position, epoch: epoch ?? place.epoch)
        let shared = server.epochs.shared(history, head: server.head)
        switch Continuation(mark: mark.position, taken: place.position, shared: shared) {
        case .goOn: break
        case .goBack(let position):
            epoch = server.epoch
            return delivery.goBack(to: Self.mark(kind, position))
        case .diverged(let shared):
            check(shared, history, server)
            events.removeAll { $0.position > shared }
            place = Place(shared, epoch: server.epoch)
            return restart()
        }
        let isNew = epoch != nil && epoch != server.epoch
        if isNew { silent += 1 }
        epoch = server.epoch
        let found = Array(server.log.filter { $0.position > mark.position && wants($0) }.prefix(2))
        let hasMore = found.count == 2
        let last = hasMore ? found[1].position : server.head
        let version = server.log.last { $0.job == 0 && $0.position <= last }?.version ?? 0
        _ = delivery.finishRead(
            .init(
                events: found, through: .init(number: kind == .oneJob ? version : last, position: last),
                hasMore: hasMore), isOfNewEpoch: isNew)
    }

    /// It has something to give up, and what it keeps is in the log. If the log knows its epoch,
    /// and it has all events, then what it gives up is not in the log.
    private mutating func check(_ shared: Position, _ history: Place, _ server: Server) {
        divergences += 1
        if place.position <= shared { wrong.append("nothing that it has is behind \(shared)") }
        let kept = events.filter { $0.position <= shared }
        if kept != server.log.filter({ wants($0) && $0.position <= shared }) {
            wrong.append("\(shared) is not shared at \(history)")
        }
        guard kind == .everything, server.epochs.epochs.contains(where: { $0.digits == history.epoch }) else { return }
        exact += 1
        if zip(events, server.log).prefix(while: { $0 == $1 }).count != Int(shared) {
            wrong.append("more than \(shared) is shared at \(history)")
        }
    }
}

private struct ForkSchedule {
    private var random: SeededGenerator
    private(set) var primary = Server()
    /// Earlier primaries, which do not know that they are.
    private var old: [Server] = []
    private(set) var readers = (Kind.allCases + Kind.allCases).map { Reader($0) }

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    private func server(_ reader: Reader) -> Server { reader.old.map { old[$0] } ?? primary }

    mutating func step() {
        let index = Int(random.below(UInt64(readers.count)))
        switch random.below(100) {
        case 0..<25: append(to: nil)
        case 25..<32: if !old.isEmpty { append(to: Int(random.below(UInt64(old.count)))) }
        case 32..<35: failOver(losing: 0)
        case 35..<38: failOver(losing: Int(random.below(6)))
        case 38..<43: readers[index].restart()
        case 43..<50:
            readers[index].old = nil
            readers[index].suspect()
        case 50..<60: readers[index].suspect()
        default:
            let followed = server(readers[index])
            _ = readers[index].step(followed)
        }
    }

    private mutating func append(to index: Int?) {
        if let index { old[index].append(&random) } else { primary.append(&random) }
        let server = index.map { old[$0] } ?? primary
        guard let entry = server.log.last else { return }
        // Redis loses some.
        for reader in readers.indices where readers[reader].old == index && random.below(4) > 0 {
            readers[reader].hear(entry, of: server)
        }
    }

    /// Some readers stay with the old primary.
    private mutating func failOver(losing count: Int) {
        old.append(primary)
        primary = primary.promoted(losing: count)
        for index in readers.indices where readers[index].old == nil && random.below(2) == 0 {
            readers[index].old = old.count - 1
        }
    }

    /// Everybody finds the primary, which goes on.
    mutating func finish() {
        primary.append(&random)
        for index in readers.indices {
            readers[index].old = nil
            readers[index].suspect()
            while !readers[index].step(primary) {}
        }
    }
}
