import LedgerTesting
import Testing

@testable import LedgerServer

/// The states of a connection under every order of what can happen: all orders up to a depth, and
/// long random ones.
///
/// Beside the state, the test keeps an account of what happened. The account knows the requests one
/// by one, and nothing of how the state represents them. At every step both must agree on what may
/// be sent, to which request, and that the connection ends.
@Suite("the states of a connection") struct ConnectionStateTests {
    @Test("every order of what can happen, up to a depth") func exhaustive() throws {
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

    @Test("long random orders") func random() throws {
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

    @Test("a second request whose body never arrives times out like the first") func secondBody() {
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

    @Test("a slow reader has time as long as it reads enough, and is cut off if it reads next to nothing")
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
    /// Either enough to count, or too little.
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

/// What has happened, as a plain list.
private struct Account: Hashable {
    struct Request: Hashable {
        var isRead: Bool
        var isWhole = false
        var hasAnswer = false
    }

    var now = Duration.zero
    /// Requests that were accepted and have no complete answer, in order.
    var requests: [Request] = []
    /// Whether the parser is inside a request, and whether that request was accepted.
    var (isInside, isInsideTaken) = (false, false)
    /// Whether the parser has failed, and whether the client has closed its output.
    var (isDeaf, isInputClosed) = (false, false)
    var hasEnded = false
    /// Whether the current answer announced that it is the last, and whether it may become the last
    /// without having known.
    var (isLastAnswer, mayBeLast) = (false, false)
    /// Whether bytes of an incomplete head have arrived.
    var isArriving = false
    /// Since when it has been the client's turn, and since when it has not read more than `read`
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
    /// Whether a problem that is sent now is certain to be taken for the answer to the refused
    /// input.
    var mayRefuse: Bool { !requests.contains { $0.isWhole || $0.hasAnswer } && !(isInsideTaken && requests.isEmpty) }

    mutating func updateTurn() { turn = isServiceTurn ? nil : turn ?? now }
}

/// A connection under test, and the account of it.
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
        case .bytes, .head, .body, .end, .refused, .inputClosed: try takeInput(step)
        case .unreadable, .readable, .reads: takeReading(step)
        case .answerBegins(let isStream, let closes):
            guard try beginAnswer(isStream: isStream, closes: closes) else { return }
        case .answerEnds: guard try endAnswer() else { return }
        case .quiesce:
            try record(state.quiesce(at: account.now))
            account.mayBeLast = true
        case .drained: state.drained(at: account.now)
        case .time(let time): account.now += time
        case .check:
            let action = state.check(at: account.now).action
            try require(action == .none || mayEnd, "it ended too early: \(action)")
            try record(action)
        }
        account.updateTurn()
        try require(account.hasEnded == state.isEnding, "whether it has ended")
        if before != account || step == .drained { try requireEnd() }
    }

    private mutating func takeInput(_ step: Step) throws {
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
            guard account.isInsideTaken else { return }
            try require(!account.hasEnded, "a request was accepted after the end")
            account.requests.append(Account.Request(isRead: isRead))
            if !account.isArriving { account.turn = account.turn.map { _ in account.now } }
            account.isArriving = false
        case .body:
            try require(state.bodyArrived(bytes: 1 << 18) == (account.isInsideTaken && !account.hasEnded), "a body")
        case .end:
            let isTaken = state.endArrived(at: account.now)
            try require(isTaken == (account.isInsideTaken && !account.hasEnded), "an end")
            if isTaken, !account.requests.isEmpty { account.requests[account.requests.count - 1].isWhole = true }
            if isTaken, account.requests.isEmpty { account.turn = account.now }
            (account.isInside, account.isInsideTaken) = (false, false)
        case .refused:
            try record(state.refused(at: account.now))
            account.isDeaf = true
        default:
            try record(state.inputClosed(at: account.now))
            account.isInputClosed = true
            account.mayBeLast = true
        }
    }

    private mutating func takeReading(_ step: Step) {
        if case .reads(let bytes) = step {
            state.arrived(bytes: bytes, at: account.now)
            guard account.unreadSince != nil else { return }
            account.read += bytes
            if account.read >= Self.limits.progress { (account.unreadSince, account.read) = (account.now, 0) }
        } else {
            state.becameWritable(step == .readable, at: account.now)
            if step == .readable || account.unreadSince == nil { account.read = 0 }
            account.unreadSince = step == .readable ? nil : account.unreadSince ?? account.now
        }
    }

    /// - Returns: whether an answer began. The service answers each request once, in order.
    private mutating func beginAnswer(isStream: Bool, closes: Bool) throws -> Bool {
        guard let first = account.requests.first, !first.hasAnswer else { return false }
        guard let isLast = state.answerBegan(isStream: isStream, closes: closes) else {
            try require(account.hasEnded, "an answer that may not begin")
            return false
        }
        try require(
            !account.hasEnded && (isLast || !closes), "an answer after the end, or one that does not announce the end")
        account.requests[0].hasAnswer = true
        (account.isLastAnswer, account.mayBeLast) = (isLast, false)
        return true
    }

    /// - Returns: whether an answer ended.
    private mutating func endAnswer() throws -> Bool {
        guard account.requests.first?.hasAnswer == true else { return false }
        try require(state.takesAnswer == !account.hasEnded, "whether an answer may continue")
        let action = state.answerEnded(at: account.now)
        guard !account.hasEnded else {
            try require(action == .none, "an action after the end")
            return false
        }
        account.requests.removeFirst()
        if !account.isServiceTurn { account.turn = account.now }
        try record(action)
        try require(
            account.isLastAnswer == (action == .finish) || account.mayBeLast, "whether the answer announced the end")
        return true
    }

    private mutating func record(_ action: ConnectionState.Action) throws {
        if action == .none { return }
        if case .refuse = action {
            try require(!account.hasEnded && account.mayRefuse, "the client could not tell what is refused")
        }
        try require(!account.hasEnded || action == .cut, "it ends twice")
        account.hasEnded = true
    }

    /// Whether the client had all the time that the limits give it.
    private var mayEnd: Bool {
        if account.hasEnded { return true }
        let least = min(Self.limits.request, Self.limits.idle)
        if let turn = account.turn, account.now - turn >= least { return true }
        if let unread = account.unreadSince, account.now - unread >= Self.limits.idle { return true }
        return account.isInputClosed && account.requests.allSatisfy(\.isRead)
    }

    /// If nothing else arrives and the service answers what is complete, the connection is closed
    /// within the time for a request, for reading, and for the end.
    private func requireEnd() throws {
        var walk = self
        let start = walk.account.now
        // If it is the client's turn, or only reads with a gone client are open, the connection
        // ends without any answer.
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
            try require(next > now, "a check that was due already")
            now = next
            checks += 1
            try require(checks < 20, "it never ends")
        }
        let most = Self.limits.request + Self.limits.idle * 2 + Self.limits.linger
        try require(now - start <= most, "it ends after \(now - start)")
    }
}
