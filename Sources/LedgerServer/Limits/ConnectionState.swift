/// The state machine of one connection: which requests have arrived, which answers were sent, and
/// whose turn it is since when.
///
/// A plain value without channel or clock: it is told what happens and when, and returns the action
/// to take. ``ConnectionGuard`` performs the actions.
///
/// Requests may be pipelined: several arrive before the first is answered, and answers go out in
/// the same order. So it is always one side's turn. While a complete request waits for its answer,
/// it is the service's turn, and the client need only read. Otherwise it is the client's turn, to
/// finish a request or to begin one, and its time counts from the start of its turn.
struct ConnectionState: Sendable, Hashable {
    struct Limits: Sendable, Hashable {
        /// The time from the first byte of a request to its last.
        var request: Duration
        /// The time without a request, or without reading ``progress`` bytes of what waits to be
        /// read.
        var idle: Duration
        /// A client that reads fewer bytes in that time counts as not reading. This bounds how long
        /// an answer may take to send.
        var progress = 16 << 10
        /// The time from the service's last byte, or the client's, to the close.
        var linger = Duration.seconds(2)
        /// How many bytes may still arrive of a body whose request was already answered.
        var rest = 64 << 10
    }

    enum Action: Sendable, Hashable {
        case none
        /// Send a problem in place of an answer; then as `finish`.
        case refuse(Reason)
        /// Send what was written, and nothing more; the client gets a moment to read it.
        case finish
        /// Close at once.
        case cut
    }

    enum Reason: Sendable, Hashable {
        case tooSlow
        /// The reason that was given to ``refused(at:)``.
        case refused
    }

    private enum Phase: Sendable, Hashable {
        case open
        /// Everything was written; it is being sent until it is drained.
        case finishing(since: Duration, isDrained: Bool)
        case closed
    }

    /// Since when bytes wait to be read, or since when the client was last seen to read, and how
    /// many bytes it has read since.
    private struct Unread: Sendable, Hashable {
        var since: Duration
        var arrived = 0
    }

    private let limits: Limits
    private var phase = Phase.open
    /// The number of requests whose heads have arrived, the number that were answered completely,
    /// and the number of the last one that may change something.
    private var (came, answered, lastWrite) = (0, 0, 0)
    /// Whether the last request is complete, and how many bytes of its body are still to come.
    private var isWhole = true
    private var rest = 0
    /// Whether bytes of an incomplete head have arrived.
    private var isArriving = false
    /// The state of the answer that is due.
    private var (hasBegunAnswer, isStreaming, closesAfterAnswer) = (false, false, false)
    /// Since when it is the client's turn, and what it has not read.
    private var since: Duration
    private var unread: Unread?
    /// Since when the client has closed its output.
    private var silentSince: Duration?
    /// Whether later requests are ignored.
    private var takesNoMore = false
    /// Whether invalid input has followed the valid requests.
    private var isRefused = false

    init(_ limits: Limits, at now: Duration) {
        self.limits = limits
        since = now
    }

    /// The number of requests that are not answered completely.
    private var open: Int { came - answered }
    /// The number of those that are complete.
    private var due: Int { isWhole ? open : max(0, open - 1) }
    /// Whether an incomplete request is arriving.
    private var isReceiving: Bool { !isWhole || isArriving }
    var isEnding: Bool { phase != .open }
    /// Whether an accepted request without an answer will never be complete.
    var isCutOff: Bool { isEnding && !isWhole && open > 0 }
    /// Whether the current or next answer is the last.
    var isAnsweringLast: Bool { takesNoMore && open <= 1 && !isRefused }
    /// Whether the request that is being answered may still send more than is worth reading.
    private var hasMuchToCome: Bool { !isWhole && open == 1 && rest > limits.rest }

    // MARK: Input

    /// Bytes have arrived, which are not parsed yet.
    mutating func bytesArrived(at now: Duration) {
        guard !isEnding, !isReceiving else { return }
        isArriving = true
        if due == 0 { since = now }
    }

    /// The head of a request has arrived.
    /// - Parameters:
    ///   - isLast: whether the connection closes after the answer, because the client wants that or
    ///     its HTTP version requires it.
    ///   - isRead: whether the request changes nothing, so that it may be dropped if the client has
    ///     gone.
    ///   - body: the length of its body in bytes, as far as it is known.
    /// - Returns: whether the request is accepted.
    mutating func headArrived(isLast: Bool, isRead: Bool, body: Int, at now: Duration) -> Bool {
        guard !isEnding, !isRefused, !takesNoMore else { return false }
        if due == 0, !isArriving { since = now }
        came += 1
        if !isRead { lastWrite = came }
        (isArriving, isWhole, rest) = (false, false, body)
        takesNoMore = isLast
        return true
    }

    /// Part of a body has arrived.
    /// - Returns: whether the bytes belong to a request that was accepted.
    mutating func bodyArrived(bytes: Int) -> Bool {
        guard !isEnding, !isRefused, !isWhole else { return false }
        rest -= min(rest, bytes)
        return true
    }

    /// The end of a request has arrived.
    /// - Returns: whether the request was accepted.
    mutating func endArrived(at now: Duration) -> Bool {
        guard !isEnding, !isRefused, !isWhole else { return false }
        isWhole = true
        // The request was answered before its end.
        if open == 0 { since = now }
        return true
    }

    /// Invalid or forbidden input has arrived, so the connection cannot be used after it. Earlier
    /// requests still get their answers.
    mutating func refused(at now: Duration) -> Action {
        guard !isEnding, !isRefused else { return .none }
        // Input after the last request is ignored.
        if takesNoMore, isWhole { return .none }
        (isRefused, takesNoMore) = (true, true)
        return due > 0 ? .none : refuse(.refused, at: now)
    }

    /// The client has closed its output. It may be gone, or may wait for its answers. While no open
    /// request can change anything, it gets a moment to read them.
    mutating func inputClosed(at now: Duration) -> Action {
        guard phase != .closed else { return .none }
        if isEnding || open == 0 || isStreaming { return cut() }
        (takesNoMore, silentSince) = (true, now)
        return .none
    }

    mutating func becameWritable(_ isWritable: Bool, at now: Duration) {
        // The little that is left at the end may wait behind much unread output.
        if isWritable, isEnding { return }
        unread = isWritable ? nil : unread ?? Unread(since: now)
    }

    /// The client has read further bytes.
    mutating func arrived(bytes: Int, at now: Duration) {
        guard var unread else { return }
        unread.arrived += min(bytes, limits.progress)
        self.unread = unread.arrived < limits.progress ? unread : Unread(since: now)
    }

    /// Whether the number of read bytes matters.
    var isUnread: Bool { unread != nil && phase != .closed }

    // MARK: Output

    /// An answer begins.
    /// - Parameters:
    ///   - isStream: whether the answer continues until one side ends it.
    ///   - closes: whether the connection ends with it.
    /// - Returns: whether the client must be told that the connection ends with this answer; `nil`
    ///   if nothing may be sent any more.
    mutating func answerBegan(isStream: Bool, closes: Bool) -> Bool? {
        guard !isEnding, open > 0 else { return nil }
        (hasBegunAnswer, isStreaming) = (true, isStream)
        closesAfterAnswer = closes || isAnsweringLast || hasMuchToCome
        return closesAfterAnswer
    }

    /// Whether parts of the answer may be sent.
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

    /// The service is stopping: requests that have arrived are still answered.
    mutating func quiesce(at now: Duration) -> Action {
        guard !isEnding else { return .none }
        takesNoMore = true
        return open == 0 ? cut() : .none
    }

    /// Everything that was written has been sent.
    mutating func drained(at now: Duration) {
        guard case .finishing = phase else { return }
        phase = .finishing(since: now, isDrained: true)
        unread = nil
    }

    mutating func closed() { phase = .closed }

    // MARK: Time

    /// The action that is due now, and if there is none, when to check again; `nil` if nothing will
    /// be due.
    mutating func check(at now: Duration) -> (action: Action, next: Duration?) {
        let deadline = deadline
        guard let deadline, deadline <= now else {
            // A request that begins before then has a limit of its own.
            let next = phase == .open ? now + min(limits.request, limits.idle) : deadline
            return (.none, deadline.map { min($0, next ?? $0) } ?? next)
        }
        return (due == 0 && isReceiving && !isEnding ? refuse(.tooSlow, at: now) : cut(), nil)
    }

    /// When an action is due, if nothing else happens before.
    private var deadline: Duration? {
        let unread = unread.map { $0.since + limits.idle }
        switch phase {
        case .closed: return nil
        case .finishing(let since, isDrained: true): return since + limits.linger
        case .finishing(let since, isDrained: false): return unread ?? since + limits.idle
        case .open where due > 0:
            // A read whose client may be gone occupies a reader that others could use.
            let silent = lastWrite <= answered ? silentSince.map { $0 + limits.linger } : nil
            return [unread, silent].compactMap(\.self).min()
        case .open: return since + (isReceiving || came == 0 ? limits.request : limits.idle)
        }
    }

    // MARK: The end

    /// No problem can be sent in the middle of an answer, or after the answer to this same request.
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
