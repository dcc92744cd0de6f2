import LedgerTesting
import Testing

@testable import LedgerServer

/// The states of a connection, over all orders in which things can happen: every sequence to a
/// depth, and long ones at random.
///
/// Beside the state goes an account of what has happened, which knows requests one by one and
/// nothing of how the state remembers them. At every step both must agree on what may be said, to
/// whom, and that it ends.
@Suite("the states of a connection") struct ConnectionStateTests {
    @Test("every sequence of what may happen, to a depth") func exhaustive() throws {
        var seen: Set<Walk> = [Walk()]
        var edge = Array(seen)
        for _ in 1...7 {
            var next: [Walk] = []
            for walk in edge {
                for step in Step.all where walk.account.allows(step) {
                    var walk = walk
                    try walk.take(step)
                    if seen.insert(walk).inserted { next.append(walk) }
                }
            }
            edge = next
        }
        print("states of a connection: \(seen.count), the last \(edge.count) of them at the full depth")
        #expect(seen.count > 10_000)
    }

    @Test("long sequences at random") func random() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("states of a connection: seed \(seed)")
        var random = SeededGenerator(seed: seed)
        for _ in 0..<3000 {
            var walk = Walk()
            var steps: [Step] = []
            for _ in 0..<60 {
                let possible = Step.all.filter { walk.account.allows($0) }
                let step = possible[Int(random.below(UInt64(possible.count)))]
                steps.append(step)
                do {
                    try walk.take(step)
                } catch {
                    Issue.record("seed \(seed): \(error) after \(steps)")
                    return
                }
            }
        }
    }

    @Test("a second request whose body never comes is given up on like the first") func secondBody() {
        var state = ConnectionState(Walk.limits, at: .zero)
        state.bytesArrived(at: .zero)
        _ = state.headArrived(isLast: false, isRead: true, body: 0, at: .zero)
        _ = state.endArrived(at: .zero)
        _ = state.headArrived(isLast: false, isRead: false, body: 1_000_000, at: .zero)
        _ = state.answerBegan(isStream: false, closes: false)
        #expect(state.answerEnded(at: .seconds(1)) == .none)
        let deadline = Duration.seconds(1) + Walk.limits.request
        #expect(state.check(at: deadline - .nanoseconds(1)).action == .none)
        #expect(state.check(at: deadline).action == .refuse(.tooSlow))
    }

    @Test("who reads slowly has time for as long as something arrives, and who reads next to nothing has not")
    func slowReader() {
        var state = ConnectionState(Walk.limits, at: .zero)
        _ = state.headArrived(isLast: false, isRead: true, body: 0, at: .zero)
        _ = state.endArrived(at: .zero)
        _ = state.answerBegan(isStream: false, closes: false)
        state.becameWritable(false, at: .zero)
        var now = Duration.zero
        for _ in 0..<100 {
            now += Walk.limits.idle - .nanoseconds(1)
            state.arrived(bytes: Walk.limits.progress, at: now)
            #expect(state.check(at: now).action == .none)
        }
        state.arrived(bytes: Walk.limits.progress - 1, at: now + .seconds(1))
        #expect(state.check(at: now + Walk.limits.idle).action == .cut)
    }
}

/// Something that happens to a connection.
private enum Step: Hashable {
    case bytes
    case head(isLast: Bool, isRead: Bool, body: Int)
    case body, end, refused, inputClosed, unreadable, readable
    /// So much as counts, or too little.
    case reads(bytes: Int)
    case answerBegins(isStream: Bool, closes: Bool)
    case answerEnds, quiesce, drained
    case time(Duration)
    case check

    static let all: [Step] = [
        .bytes, .head(isLast: false, isRead: true, body: 0), .head(isLast: true, isRead: true, body: 0),
        .head(isLast: false, isRead: false, body: 1 << 20), .body, .end, .refused, .inputClosed, .unreadable, .readable,
        .reads(bytes: 1 << 20), .reads(bytes: 10 << 10),
        .answerBegins(isStream: false, closes: false), .answerBegins(isStream: true, closes: false),
        .answerBegins(isStream: false, closes: true), .answerEnds, .quiesce, .drained, .time(.seconds(1)),
        .time(.seconds(40)),
        .check,
    ]
}

/// What has happened, told plainly.
private struct Account: Hashable {
    struct Request: Hashable {
        var isRead: Bool
        var isWhole = false
        var hasAnswer = false
    }

    var now = Duration.zero
    /// Those that were taken and have no whole answer, in order.
    var requests: [Request] = []
    /// Whether the parser is inside of a request, taken or not; and whether the one that it is in
    /// was taken.
    var (isInside, isInsideTaken) = (false, false)
    /// Whether the parser has given up, or has said that the client has closed its side.
    var (isDeaf, isInputClosed) = (false, false)
    var hasEnded = false
    /// Whether the answer under way said that it is the last, and whether it could not know that it
    /// is.
    var (isLastAnswer, mayBeLast) = (false, false)
    /// Whether bytes have come of a request whose head has not.
    var isArriving = false
    /// Since when it has been the client's turn, and since when it did not read, but for so many
    /// bytes.
    var turn: Duration? = .zero
    var unreadSince: Duration?
    var read = 0

    func allows(_ step: Step) -> Bool {
        switch step {
        case .head: !isInside && !isDeaf && !isInputClosed
        case .body, .end: isInside && !isDeaf
        case .bytes: !isInputClosed
        case .refused: !isDeaf
        case .inputClosed: !isInputClosed
        default: true
        }
    }

    var isServiceTurn: Bool { requests.contains(where: \.isWhole) }
    /// Whether the client could take something that is said now for the answer to what cannot be
    /// taken.
    var mayRefuse: Bool { !requests.contains { $0.isWhole || $0.hasAnswer } && !(isInsideTaken && requests.isEmpty) }

    mutating func noteTurn() { turn = isServiceTurn ? nil : turn ?? now }
}

/// A connection on its way, and the account of it.
private struct Walk: Hashable {
    static let limits = ConnectionState.Limits(request: .seconds(30), idle: .seconds(60))

    private(set) var state = ConnectionState(limits, at: .zero)
    private(set) var account = Account()

    struct Disagreement: Error, CustomStringConvertible {
        let description: String
    }

    private func require(_ holds: Bool, _ what: String) throws {
        if !holds { throw Disagreement(description: "\(what): \(state), \(account)") }
    }

    mutating func take(_ step: Step) throws {
        let before = account
        switch step {
        case .bytes:
            state.bytesArrived(at: account.now)
            if !account.isInside, !account.isArriving {
                account.isArriving = true
                account.turn = account.turn.map { _ in account.now }
            }
        case .head(let isLast, let isRead, let body):
            account.isInside = true
            account.isInsideTaken = state.headArrived(isLast: isLast, isRead: isRead, body: body, at: account.now)
            if account.isInsideTaken {
                try require(!account.hasEnded, "a request was taken behind the end")
                account.requests.append(Account.Request(isRead: isRead))
                if !account.isArriving { account.turn = account.turn.map { _ in account.now } }
                account.isArriving = false
            }
        case .body:
            try require(state.bodyArrived(bytes: 1 << 18) == (account.isInsideTaken && !account.hasEnded), "a body")
        case .end:
            let isTaken = state.endArrived(at: account.now)
            try require(isTaken == (account.isInsideTaken && !account.hasEnded), "an end")
            if isTaken, !account.requests.isEmpty { account.requests[account.requests.count - 1].isWhole = true }
            if isTaken, account.requests.isEmpty { account.turn = account.now }
            (account.isInside, account.isInsideTaken) = (false, false)
        case .refused:
            try note(state.refused(at: account.now))
            account.isDeaf = true
        case .inputClosed:
            try note(state.inputClosed(at: account.now))
            account.isInputClosed = true
            account.mayBeLast = true
        case .unreadable, .readable:
            state.becameWritable(step == .readable, at: account.now)
            if step == .readable || account.unreadSince == nil { account.read = 0 }
            account.unreadSince = step == .readable ? nil : account.unreadSince ?? account.now
        case .reads(let bytes):
            state.arrived(bytes: bytes, at: account.now)
            guard account.unreadSince != nil else { break }
            account.read += bytes
            if account.read >= Self.limits.progress { (account.unreadSince, account.read) = (account.now, 0) }
        case .answerBegins(let isStream, let closes):
            // Whoever answers does so once, and in order.
            guard let first = account.requests.first, !first.hasAnswer else { return }
            guard let isLast = state.answerBegan(isStream: isStream, closes: closes) else {
                return try require(account.hasEnded, "an answer that may not begin")
            }
            try require(
                !account.hasEnded && (isLast || !closes), "an answer behind the end, or one that does not say so")
            account.requests[0].hasAnswer = true
            (account.isLastAnswer, account.mayBeLast) = (isLast, false)
        case .answerEnds:
            guard account.requests.first?.hasAnswer == true else { return }
            try require(state.takesAnswer == !account.hasEnded, "whether an answer may go on")
            let action = state.answerEnded(at: account.now)
            guard !account.hasEnded else { return try require(action == .none, "an action behind the end") }
            account.requests.removeFirst()
            if !account.isServiceTurn { account.turn = account.now }
            try note(action)
            try require(
                account.isLastAnswer == (action == .finish) || account.mayBeLast, "the last answer says that it is")
        case .quiesce:
            try note(state.quiesce(at: account.now))
            account.mayBeLast = true
        case .drained: state.drained(at: account.now)
        case .time(let time): account.now += time
        case .check:
            let action = state.check(at: account.now).action
            try require(action == .none || mayEnd, "it ended too early: \(action)")
            try note(action)
        }
        account.noteTurn()
        try require(account.hasEnded == state.isEnding, "whether it has ended")
        if before != account || step == .drained { try requireEnd() }
    }

    private mutating func note(_ action: ConnectionState.Action) throws {
        if action == .none { return }
        if case .refuse = action {
            try require(!account.hasEnded && account.mayRefuse, "nobody could tell what is refused")
        }
        try require(!account.hasEnded || action == .cut, "it ends twice")
        account.hasEnded = true
    }

    /// Whether the client has had the time that it has.
    private var mayEnd: Bool {
        if account.hasEnded { return true }
        let least = min(Self.limits.request, Self.limits.idle)
        if let turn = account.turn, account.now - turn >= least { return true }
        if let unread = account.unreadSince, account.now - unread >= Self.limits.idle { return true }
        return account.isInputClosed && account.requests.allSatisfy(\.isRead)
    }

    /// When nothing comes any more, and the service answers what is whole, the connection is
    /// closed: within the time for a request, for reading, and for the end.
    private func requireEnd() throws {
        var walk = self
        let start = walk.account.now
        // While it is the client's turn, or a read that nobody waits for is under way, nobody needs
        // to help.
        if walk.account.isServiceTurn, !(walk.account.isInputClosed && walk.account.requests.allSatisfy(\.isRead)) {
            while walk.state.isEnding == false, walk.account.requests.first.map({ $0.isWhole || $0.hasAnswer }) == true
            {
                _ = walk.state.answerBegan(isStream: false, closes: false)
                _ = walk.state.answerEnded(at: start)
                walk.account.requests.removeFirst()
            }
        }
        var (now, action) = (start, ConnectionState.Action.none)
        var checks = 0
        while action != .cut {
            let check = walk.state.check(at: now)
            action = check.action
            if action != .none, action != .cut { continue }
            guard let next = check.next else { break }
            try require(next > now, "a look that is due already")
            now = next
            checks += 1
            try require(checks < 20, "it never ends")
        }
        let most = Self.limits.request + Self.limits.idle * 2 + Self.limits.linger
        try require(now - start <= most, "it ends after \(now - start)")
    }
}
