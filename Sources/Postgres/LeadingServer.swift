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
/// a look at this: a session of an earlier timeline is closed, and nothing is sent on it.
///
/// A cluster manager may also decide for the old leader after all, and then nobody comes back from
/// the later timeline. So that one counts for as long as sessions with it begin or are used, and
/// for ``memory`` after that.
package final class LeadingServer: Sendable {
    private struct State {
        var server: ServerTimeline?
        /// When a session with ``server`` has begun, or was used, last.
        var seen = ContinuousClock.now
        /// When this process looked last at a host of the address; `nil` is the one that libpq
        /// takes.
        var looked: [Int?: ContinuousClock.Instant] = [nil: .now]
    }
    private let state = Locked(State())
    private let memory: Duration
    private static let byAddress = Locked<[ExactText: LeadingServer]>([:])
    /// How often a process looks for another leader.
    private static let interval = Duration.seconds(1)

    /// - Parameter memory: for how long the later timeline counts after a session with it was used.
    package init(memory: Duration = .seconds(10)) { self.memory = memory }

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
    /// - Parameter isSurvey: whether the session is with a host because the address names it. Then
    ///   only a later timeline replaces another.
    /// - Throws: a passing error where another session has met a later timeline.
    func meet(_ server: ServerTimeline, isSurvey: Bool = false) throws(PostgresError) {
        let leading = state.withLock { state -> ServerTimeline in
            if !isSurvey { state.looked[nil] = .now }
            if let known = state.server, state.seen.duration(to: .now) < memory, known != server {
                let isOfSameCluster = known.systemIdentifier == server.systemIdentifier
                if isOfSameCluster && known.timeline > server.timeline { return known }
                if isSurvey && !(isOfSameCluster && known.timeline < server.timeline) { return known }
            }
            (state.server, state.seen) = (server, .now)
            return server
        }
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

    /// Connects anew each second, unless another session has just begun, so that sessions that an
    /// old leader still answers are closed as soon as the address leads to another one. Of an
    /// address with several hosts, each is asked besides. It ends when the task is cancelled.
    package static func keepLooking(with configuration: PostgresConfiguration) async {
        guard let leading = configuration.leading else { return }
        // Each by itself: a host that does not answer delays nobody.
        await withTaskGroup(of: Void.self) { group in
            for host in PostgresConnection.hosts(of: configuration) {
                group.addTask {
                    await leading.keepLooking(at: host) { await PostgresConnection.meet(host, of: configuration) }
                }
            }
            await leading.keepLooking(at: nil) {
                do {
                    await (try PostgresConnection.connect(configuration)).close()
                } catch {
                    // Those who need the server report that they cannot reach it.
                }
            }
            group.cancelAll()
        }
    }

    /// Calls `look` when nobody has looked at a host for a second.
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

    /// Whether no session has met a server yet.
    var knowsNone: Bool { state.withLock { $0.server == nil } }
}

/// The server of a session, as it was when the session began.
struct SessionServer: Sendable {
    /// `nil` for a standby.
    private let timeline: ServerTimeline?
    private let leading: LeadingServer

    init(_ timeline: ServerTimeline?, _ leading: LeadingServer, isSurvey: Bool) throws(PostgresError) {
        (self.timeline, self.leading) = (timeline, leading)
        if let timeline { try leading.meet(timeline, isSurvey: isSurvey) }
    }

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
