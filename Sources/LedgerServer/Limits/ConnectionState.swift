/// What one connection is at: which requests have come, which answers have gone out, and whose turn
/// it is since when.
///
/// A plain value, which knows no channel and no clock: it is told what happens and when, and says
/// what is to be done about it. ``ConnectionGuard`` carries that out.
///
/// Requests may be pipelined: several come before the first is answered, and answers go out in
/// their order. So it is always one side's turn. While a whole request waits for its answer it is
/// the service's, and the client must do no more than read. Otherwise it is the client's: to finish
/// the request that it has begun, or to begin one, and its time is measured from where its turn
/// began.
struct ConnectionState: Sendable, Hashable {
    struct Limits: Sendable, Hashable {
        /// From the first byte of a request to its last.
        var request: Duration
        /// Without a request, or without reading ``progress`` bytes of what waits to be read.
        var idle: Duration
        /// Whoever reads less in that time, reads nothing. It bounds how long an answer may be on
        /// its way.
        var progress = 16 << 10
        /// From our last byte, or from the client's, to the end.
        var linger = Duration.seconds(2)
        /// What may still come of a body whose request was answered already.
        var rest = 64 << 10
    }

    enum Action: Sendable, Hashable {
        case none
        /// Tell the client that its request cannot be taken, in the place of an answer; then as
        /// `finish`.
        case refuse(Reason)
        /// Send what was written, and no more; the client may take a moment to read it.
        case finish
        /// Close at once.
        case cut
    }

    enum Reason: Sendable, Hashable {
        case tooSlow
        /// What was given to ``refused(at:)``.
        case refused
    }

    private enum Phase: Sendable, Hashable {
        case open
        /// Everything has been said, and goes out until it is drained.
        case finishing(since: Duration, isDrained: Bool)
        case closed
    }

    /// Since when something waits to be read, or since when the client was last seen to read, and
    /// how much of it has arrived there since.
    private struct Unread: Sendable, Hashable {
        var since: Duration
        var arrived = 0
    }

    private let limits: Limits
    private var phase = Phase.open
    /// Requests whose heads have come, those that were answered whole, and the last of them that
    /// may change something.
    private var (came, answered, lastWrite) = (0, 0, 0)
    /// Whether the last request has come to its end, and how much of its body is still to come.
    private var isWhole = true
    private var rest = 0
    /// Whether bytes have come of a request whose head is not whole.
    private var isArriving = false
    /// Of the answer that is due.
    private var (hasBegunAnswer, isStreaming, closesAfterAnswer) = (false, false, false)
    /// Since when the client's turn lasts, and what it was last seen to do.
    private var since: Duration
    private var unread: Unread?
    /// Since when the client sends no more.
    private var silentSince: Duration?
    /// No request is taken behind those that have come.
    private var takesNoMore = false
    /// Something that cannot be taken has come, behind what can.
    private var isRefused = false

    init(_ limits: Limits, at now: Duration) {
        self.limits = limits
        since = now
    }

    /// Requests that are not answered whole.
    private var open: Int { came - answered }
    /// Those of them that have come to their end.
    private var due: Int { isWhole ? open : max(0, open - 1) }
    /// Whether something has begun to come that is not whole.
    private var isReceiving: Bool { !isWhole || isArriving }
    var isEnding: Bool { phase != .open }
    /// Whether a request that was taken, and has no answer, will never come to its end.
    var isCutOff: Bool { isEnding && !isWhole && open > 0 }
    /// Whether the answer under way, or the next one, is the last.
    var isAnsweringLast: Bool { takesNoMore && open <= 1 && !isRefused }
    /// Whether the request whose answer begins may still be sending, more than is worth waiting
    /// for.
    private var hasMuchToCome: Bool { !isWhole && open == 1 && rest > limits.rest }

    // MARK: What comes

    /// Bytes, before anybody knows what they mean.
    mutating func bytesArrived(at now: Duration) {
        guard !isEnding, !isReceiving else { return }
        isArriving = true
        if due == 0 { since = now }
    }

    /// - Parameters:
    ///   - isLast: whether the client wants the connection closed behind the answer, or understands
    ///     nothing else.
    ///   - isRead: whether it makes no difference if the request is dropped when the client has
    ///     gone.
    ///   - body: how many bytes it has, as far as it says.
    /// - Returns: whether the request is taken.
    mutating func headArrived(isLast: Bool, isRead: Bool, body: Int, at now: Duration) -> Bool {
        guard !isEnding, !isRefused, !takesNoMore else { return false }
        if due == 0, !isArriving { since = now }
        came += 1
        if !isRead { lastWrite = came }
        (isArriving, isWhole, rest) = (false, false, body)
        takesNoMore = isLast
        return true
    }

    /// - Returns: whether the bytes are of any use.
    mutating func bodyArrived(bytes: Int) -> Bool {
        guard !isEnding, !isRefused, !isWhole else { return false }
        rest -= min(rest, bytes)
        return true
    }

    /// - Returns: whether it is the end of a request that was taken.
    mutating func endArrived(at now: Duration) -> Bool {
        guard !isEnding, !isRefused, !isWhole else { return false }
        isWhole = true
        // Its answer was faster.
        if open == 0 { since = now }
        return true
    }

    /// What came cannot be understood, or must not be: the connection is of no use behind it. Those
    /// before it still get their answers.
    mutating func refused(at now: Duration) -> Action {
        guard !isEnding, !isRefused else { return .none }
        // What stands behind the last request is nobody's.
        if takesNoMore, isWhole { return .none }
        (isRefused, takesNoMore) = (true, true)
        return due > 0 ? .none : refuse(.refused, at: now)
    }

    /// The client sends no more. It may be gone, or wait for its answers: while nothing depends on
    /// it, it gets a moment for those.
    mutating func inputClosed(at now: Duration) -> Action {
        guard phase != .closed else { return .none }
        if isEnding || open == 0 || isStreaming { return cut() }
        (takesNoMore, silentSince) = (true, now)
        return .none
    }

    mutating func becameWritable(_ isWritable: Bool, at now: Duration) {
        // What is left at the end is little, and may wait behind much.
        if isWritable, isEnding { return }
        unread = isWritable ? nil : unread ?? Unread(since: now)
    }

    /// So many bytes more of what was sent have arrived.
    mutating func arrived(bytes: Int, at now: Duration) {
        guard var unread else { return }
        unread.arrived += min(bytes, limits.progress)
        self.unread = unread.arrived < limits.progress ? unread : Unread(since: now)
    }

    /// Whether it matters what has arrived.
    var isUnread: Bool { unread != nil && phase != .closed }

    // MARK: What goes

    /// - Parameters:
    ///   - isStream: whether the answer goes on until somebody ends it.
    ///   - closes: whether the connection ends with it.
    /// - Returns: whether the client is to be told that the connection ends with this answer; `nil`
    ///   where nothing may be said any more.
    mutating func answerBegan(isStream: Bool, closes: Bool) -> Bool? {
        guard !isEnding, open > 0 else { return nil }
        (hasBegunAnswer, isStreaming) = (true, isStream)
        closesAfterAnswer = closes || isAnsweringLast || hasMuchToCome
        return closesAfterAnswer
    }

    /// Whether what belongs to the answer may go out.
    var takesAnswer: Bool { !isEnding && hasBegunAnswer }

    mutating func answerEnded(at now: Duration) -> Action {
        guard takesAnswer else { return .none }
        answered += 1
        (hasBegunAnswer, isStreaming) = (false, false)
        if closesAfterAnswer || open == 0 && takesNoMore && !isRefused { return finish(at: now) }
        guard due == 0 else { return .none }
        since = now
        return isRefused ? refuse(.refused, at: now) : .none
    }

    /// The service is to stop: what has come is still answered.
    mutating func quiesce(at now: Duration) -> Action {
        guard !isEnding else { return .none }
        takesNoMore = true
        return open == 0 ? cut() : .none
    }

    /// What was written has gone out.
    mutating func drained(at now: Duration) {
        guard case .finishing = phase else { return }
        phase = .finishing(since: now, isDrained: true)
        unread = nil
    }

    mutating func closed() { phase = .closed }

    // MARK: Time

    /// What has to be done by now, and if nothing, when to look again; `nil` where nothing will
    /// have to be.
    mutating func check(at now: Duration) -> (action: Action, next: Duration?) {
        let deadline = deadline
        guard let deadline, deadline <= now else {
            // What begins meanwhile has a limit of its own.
            let next = phase == .open ? now + min(limits.request, limits.idle) : deadline
            return (.none, deadline.map { min($0, next ?? $0) } ?? next)
        }
        return (due == 0 && isReceiving && !isEnding ? refuse(.tooSlow, at: now) : cut(), nil)
    }

    /// When something has to be done, if nothing happens before.
    private var deadline: Duration? {
        let unread = unread.map { $0.since + limits.idle }
        switch phase {
        case .closed: return nil
        case .finishing(let since, isDrained: true): return since + limits.linger
        case .finishing(let since, isDrained: false): return unread ?? since + limits.idle
        case .open where due > 0:
            // A read that nobody may wait for any more holds something that others could use.
            let silent = lastWrite <= answered ? silentSince.map { $0 + limits.linger } : nil
            return [unread, silent].compactMap(\.self).min()
        case .open: return since + (isReceiving || came == 0 ? limits.request : limits.idle)
        }
    }

    // MARK: The end

    /// Nothing can be said in the middle of an answer, or behind that to this very request.
    private mutating func refuse(_ reason: Reason, at now: Duration) -> Action {
        if hasBegunAnswer { return cut() }
        let wasAnswered = !isWhole && open == 0
        let end = finish(at: now)
        return wasAnswered ? end : .refuse(reason)
    }

    private mutating func finish(at now: Duration) -> Action {
        phase = .finishing(since: now, isDrained: false)
        unread = unread ?? Unread(since: now)
        return .finish
    }

    private mutating func cut() -> Action {
        phase = .closed
        return .cut
    }
}
