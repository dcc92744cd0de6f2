import BlockingIO
import Texts

/// Where a server stands in the life of its cluster: each promotion begins another timeline, with a
/// higher number.
struct ServerTimeline: Sendable, Hashable {
    /// Made with the cluster; standbys have that of their primary.
    var systemIdentifier: String
    /// Eight hexadecimal digits, as in the names of WAL files.
    var timeline: String
    /// When the server was started, as a text. Two standbys that are promoted without knowing of
    /// each other write the same timeline.
    var started: String
}

/// The server that all sessions of a process with one address have in common: the one with the
/// latest timeline that any of them has met.
///
/// A leader that was stopped or cut off comes back as if nothing had happened, until its cluster
/// manager ends it. A session that it still serves, or that a proxy leads to it, would write into a
/// log that nobody keeps, and read from it what others never see. So every statement is preceded by
/// a look at this: a session of an earlier timeline is closed, and nothing is sent on it. Those who
/// wait for such a server's answer are told at once: while it is stopped, nothing else would.
///
/// A cluster manager may also decide for the old leader after all, and then nobody comes back from
/// the later timeline. So that one counts until its server says that it ends or has become a
/// standby; otherwise for as long as sessions with it begin or are used, and for ``memory`` after
/// that.
package final class LeadingServer: Sendable {
    private struct State {
        var server: ServerTimeline?
        /// Which of the address's hosts ``server`` is, where that is known.
        var host: Int?
        /// Which of them an earlier leader is that accepts writes, now that ``server`` has ended.
        var successor: Int?
        /// How often another server than the one before has taken the lead.
        var changes = 0
        /// The connections, by the object that follows for them.
        var interrupts: [ObjectIdentifier: Interrupt] = [:]
        /// Whether ``server`` has said that it leads no more.
        var hasEnded = false
        /// When a session with ``server`` has begun, or was used, last.
        var seen = ContinuousClock.now
        /// When this process looked last at a host of the address; `nil` is the one that libpq
        /// takes.
        var looked: [Int?: ContinuousClock.Instant] = [nil: .now]
    }
    private let state = Locked(State())
    private let surveying = Locked<Task<Void, Never>?>(nil)
    private let memory: Duration
    /// How long all hosts are waited for while none is known to lead.
    let patience: Duration
    private static let byAddress = Locked<[ExactText: LeadingServer]>([:])
    /// How often a process looks for another leader.
    private static let interval = Duration.seconds(1)

    /// - Parameters:
    ///   - memory: for how long the later timeline counts after a session with it was used.
    ///   - patience: how long all hosts are waited for while none is known to lead. Most answer at
    ///     once; one that was stopped never does.
    package init(memory: Duration = .seconds(10), patience: Duration = .seconds(3)) {
        (self.memory, self.patience) = (memory, patience)
    }

    /// The one for an address. All configurations of the process with this address share it.
    package static func of(_ url: String) -> LeadingServer {
        byAddress.withLock { known in
            if let leading = known[ExactText(url)] { return leading }
            let leading = LeadingServer()
            known[ExactText(url)] = leading
            return leading
        }
    }

    /// A session has begun. Another cluster, or another server on the same timeline, replaces the
    /// one before: which of two is right only the address can say.
    /// - Parameters:
    ///   - host: the index of the server's host among those that the address names, if it is known.
    ///   - isSurvey: whether the session is with a host because the address names it. Then only a
    ///     later timeline replaces another.
    /// - Throws: a passing error where another session has met a later timeline.
    func meet(_ server: ServerTimeline, at host: Int? = nil, isSurvey: Bool = false) throws(PostgresError) {
        let (leading, followers) = state.withLock { state -> (ServerTimeline, [Interrupt]) in
            if !isSurvey { state.looked[nil] = .now }
            if let known = state.server, known != server, state.seen.duration(to: .now) < memory {
                let isOfSameCluster = known.systemIdentifier == server.systemIdentifier
                let isEarlier = isOfSameCluster && known.timeline > server.timeline
                let isLater = isOfSameCluster && known.timeline < server.timeline
                if isSurvey, isEarlier { state.successor = host }
                if isSurvey ? !isLater : isEarlier && !state.hasEnded { return (known, []) }
            }
            // Of several hosts, the first that is met leads, too: others may wait for a silent one.
            let isChange = state.server.map { $0 != server } ?? (host != nil)
            if isChange { state.changes += 1 }
            state.host = host ?? (isChange ? nil : state.host)
            (state.server, state.hasEnded, state.successor, state.seen) = (server, false, nil, .now)
            return (server, isChange ? Array(state.interrupts.values) : [])
        }
        for follower in followers { follower.ring() }
        guard leading == server else { throw .leftBehind(server, by: leading) }
    }

    /// A session is about to be used.
    /// - Throws: a passing error where its server is not the leading one any more.
    func check(_ server: ServerTimeline) throws(PostgresError) {
        let leading = state.withLock { state in
            if state.server == server { state.seen = .now }
            return state.server
        }
        if let leading, leading != server { throw .leftBehind(server, by: leading) }
    }

    /// The server has ended a session because it shuts down, or because somebody wants it to. If it
    /// still leads, the next session meets it again.
    func hasEnded(_ server: ServerTimeline) { end { $0.server == server } }

    /// The host is a standby.
    func isStandby(_ host: Int) { end { $0.host == host } }

    private func end(_ isMeant: @Sendable (State) -> Bool) {
        state.withLock { state in
            guard isMeant(state), !state.hasEnded else { return }
            state.hasEnded = true
            state.looked = [:]
        }
    }

    /// Connects anew each second, unless another session has just begun, so that sessions that an
    /// old leader still answers are closed as soon as the address leads to another one. Of an
    /// address with several hosts, each is asked besides. It ends when the task is cancelled.
    package static func keepLooking(with configuration: PostgresConfiguration) async {
        guard let leading = configuration.leading else { return }
        await withTaskGroup(of: Void.self) { group in
            for host in PostgresConnection.hosts(of: configuration) {
                group.addTask {
                    await leading.keepLooking(at: host) { await PostgresConnection.meet(host, of: configuration) }
                }
            }
            // Several take turns: one whose look leads to a stopped server is kept waiting.
            for _ in 0..<lookers {
                group.addTask {
                    await leading.keepLooking(at: nil) {
                        do {
                            await (try PostgresConnection.connect(configuration)).close()
                        } catch {
                            // Those who need the server report that they cannot reach it.
                        }
                    }
                }
            }
        }
    }

    /// As many as a connection takes seconds at most.
    private static let lookers = 5

    /// Calls `look` when nobody has begun to look at a host for a second.
    private func keepLooking(at host: Int?, _ look: () async -> Void) async {
        while (try? await Task.sleep(for: Self.interval)) != nil {
            let isDue = state.withLock { state in
                if let looked = state.looked[host], looked.duration(to: .now) < Self.interval { return false }
                state.looked[host] = .now
                return true
            }
            if isDue { await look() }
        }
    }

    /// Whether no session has met a server that leads.
    var knowsNone: Bool { state.withLock { $0.server == nil || $0.hasEnded } }

    /// Which of the address's hosts to ask first, where that is known.
    var host: Int? { lead.host }

    /// How often another server than the one before has taken the lead.
    var changes: Int { lead.changes }

    /// Both, of one moment.
    var lead: (host: Int?, changes: Int) {
        state.withLock { ($0.hasEnded ? $0.successor : $0.host, $0.changes) }
    }

    /// Has all hosts asked, once for all who wait for it at the same time.
    func survey(_ ask: @escaping @Sendable () async -> Void) async {
        let survey = surveying.withLock { surveying -> Task<Void, Never> in
            if let surveying { return surveying }
            // A task of no caller: it has a bound, and one who is cancelled must not end it for the
            // others.
            let survey = Task {
                await ask()
                self.surveying.withLock { $0 = nil }
            }
            surveying = survey
            return survey
        }
        await survey.value
    }

    /// Whether another server leads.
    func isOvertaken(_ server: ServerTimeline) -> Bool { state.withLock { $0.server.map { $0 != server } ?? false } }

    /// Rings when another server leads, until it is released.
    final class Following: Sendable {
        private let leading: LeadingServer

        fileprivate init(_ leading: LeadingServer, ringing interrupt: Interrupt) {
            self.leading = leading
            leading.state.withLock { $0.interrupts[ObjectIdentifier(self)] = interrupt }
        }

        deinit { leading.state.withLock { $0.interrupts[ObjectIdentifier(self)] = nil } }
    }

    func follow(ringing interrupt: Interrupt) -> Following { Following(self, ringing: interrupt) }
}

/// The server of a session, as it was when the session began.
struct SessionServer: Sendable {
    /// `nil` for a standby.
    private let timeline: ServerTimeline?
    private let leading: LeadingServer

    init(
        _ timeline: ServerTimeline?, of leading: LeadingServer, at host: Int?, isSurvey: Bool
    ) throws(PostgresError) {
        (self.timeline, self.leading) = (timeline, leading)
        if let timeline { try leading.meet(timeline, at: host, isSurvey: isSurvey) }
    }

    /// The server ends the session.
    func hasEnded() {
        if let timeline { leading.hasEnded(timeline) }
    }

    /// Whether another server leads now.
    var isOvertaken: Bool { timeline.map(leading.isOvertaken) ?? false }

    /// Throws a passing error where the server is not the leading one any more.
    /// - Parameter isStandby: what the server said last.
    func check(isStandby: Bool) throws(PostgresError) {
        if let timeline {
            try leading.check(timeline)
        } else if !isStandby {
            throw .promoted
        }
    }

    func isLeading(isStandby: Bool) -> Bool {
        do throws(PostgresError) { try check(isStandby: isStandby) } catch { return false }
        return true
    }
}

extension PostgresError {
    fileprivate static func leftBehind(_ server: ServerTimeline, by leading: ServerTimeline) -> PostgresError {
        var error = PostgresError(
            .cannotConnect,
            server.systemIdentifier == leading.systemIdentifier
                ? """
                the server is on timeline \(server.timeline), and another one on timeline \
                \(leading.timeline), started at \(leading.started), leads now: nothing is sent to an \
                old leader
                """
                : """
                the server belongs to the cluster \(server.systemIdentifier), and the address leads \
                to the cluster \(leading.systemIdentifier) now: nothing is sent to it
                """)
        error.isLeftBehind = true
        return error
    }

    /// A session that began on a standby does not know which timeline the server writes now.
    static let promoted = cannotConnect(
        "the standby was promoted since the session began, which must begin anew", isPermanent: false)
}
