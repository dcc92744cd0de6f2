import BlockingIO
import LedgerCore
import NIOCore

/// How many connections there are, at most so many.
///
/// When all places are taken, a new connection gets that of one that has not shown a token that
/// works, of the one which has been there for longest. So whoever opens connections and is silent,
/// spells out a request byte by byte, or asks what anybody may ask, takes them from their own kind.
/// A place is kept for as long as the token works that was shown on it.
///
/// Whoever is displaced, or comes when there is no place, has one of ``maxLeaving`` more until its
/// channel is closed, and they are closed the oldest first. Beyond that a connection is closed as
/// soon as it is there: there are never more than all of these.
final class ConnectionCount: Sendable {
    enum Entry: Sendable, Hashable {
        case taken
        /// It has no place, and may be told so.
        case tooMany
        /// It is to be closed at once.
        case dropped
    }

    private struct Connection: Sendable {
        let number: UInt64
        let channel: any Channel
        var token: AccessToken?
    }

    private struct State: Sendable {
        var open: [ObjectIdentifier: Connection] = [:]
        /// Those that have shown no token that works, by when they came.
        var unauthenticated: [UInt64: any Channel] = [:]
        /// None before this one is a stranger.
        var firstUnauthenticated: UInt64 = 1
        /// Those whose token has been revoked. They go first.
        var revoked: [UInt64: any Channel] = [:]
        var last: UInt64 = 0
        /// Those without a place, whose channels are not closed yet.
        var leaving: [ObjectIdentifier: Connection] = [:]

        mutating func add(_ channel: any Channel) -> Entry {
            open[ObjectIdentifier(channel)] = Connection(number: last, channel: channel)
            unauthenticated[last] = channel
            return .taken
        }

        /// Takes the place from somebody, if there is somebody who may be displaced.
        mutating func displace() -> (any Channel)? {
            let channel = revoked.popFirst()?.value ?? takeUnauthenticated()
            guard let channel, let known = open.removeValue(forKey: ObjectIdentifier(channel)) else { return nil }
            leaving[ObjectIdentifier(channel)] = known
            return channel
        }

        private mutating func takeUnauthenticated() -> (any Channel)? {
            while firstUnauthenticated <= last, unauthenticated[firstUnauthenticated] == nil {
                firstUnauthenticated += 1
            }
            return unauthenticated.removeValue(forKey: firstUnauthenticated)
        }

        /// How a connection without a place goes on, and which one has to go for it.
        mutating func turnAway(_ channel: any Channel) -> (Entry, displaced: (any Channel)?) {
            let oldest =
                leaving.count >= ConnectionCount.maxLeaving - 1 ? leaving.values.min { $0.number < $1.number } : nil
            guard leaving.count < ConnectionCount.maxLeaving else { return (.dropped, oldest?.channel) }
            leaving[ObjectIdentifier(channel)] = Connection(number: last, channel: channel)
            return (.tooMany, oldest?.channel)
        }
    }

    /// Connections without a place that are not closed yet.
    static let maxLeaving = 64

    let limit: Int
    private let state = Locked(State())

    init(limit: Int) { self.limit = limit }

    /// Connections that have a place.
    var open: Int { state.withLock { $0.open.count } }
    /// Those that have none, and are not closed yet.
    var leaving: Int { state.withLock { $0.leaving.count } }

    /// Takes a place until the channel is closed, however that happens.
    func enter(_ channel: any Channel) -> Entry {
        let id = ObjectIdentifier(channel)
        let (entry, displaced) = state.withLock { state -> (Entry, (any Channel)?) in
            state.last += 1
            guard state.open.count >= limit else { return (state.add(channel), nil) }
            // What displaced ones have not given back yet is not given away.
            guard state.leaving.count < Self.maxLeaving, let displaced = state.displace() else {
                return state.turnAway(channel)
            }
            return (state.add(channel), displaced)
        }
        displaced?.cutAtOnce()
        guard entry != .dropped else { return entry }
        // The channel lives at least until then, so nobody else has its identifier.
        channel.closeFuture.whenComplete { [self] _ in leave(id) }
        return entry
    }

    /// A request with a token that works has come: the place is kept.
    func keepPlace(_ channel: any Channel, _ token: AccessToken?) {
        let id = ObjectIdentifier(channel)
        state.withLock { state in
            guard let number = state.open[id]?.number else { return }
            state.open[id]?.token = token
            state.unauthenticated[number] = nil
            state.revoked[number] = nil
        }
    }

    private func leave(_ id: ObjectIdentifier) {
        state.withLock { state in
            state.leaving[id] = nil
            guard let number = state.open.removeValue(forKey: id)?.number else { return }
            state.unauthenticated[number] = nil
            state.revoked[number] = nil
        }
    }

    // MARK: Tokens that are revoked

    /// Gives up the places that were kept for a token which works no more. While there are places
    /// enough for everybody, nobody asks.
    /// - Parameter works: whether a token does; what cannot be found out changes nothing.
    func review(_ works: (AccessToken) async throws -> Bool) async {
        let tokens = state.withLock { state -> [TokenID: AccessToken] in
            guard state.open.count > limit / 2 else { return [:] }
            return Dictionary(state.open.values.compactMap { known in known.token.map { ($0.id, $0) } }) { first, _ in
                first
            }
        }
        for (id, token) in tokens {
            guard let isGood = try? await works(token), !isGood else { continue }
            releasePlaces(id)
        }
    }

    private func releasePlaces(_ token: TokenID) {
        state.withLock { state in
            for (id, known) in state.open where known.token?.id == token {
                state.open[id]?.token = nil
                state.revoked[known.number] = known.channel
            }
        }
    }
}

/// Asks the ``ConnectionCloser`` of a connection to close it, whatever is still under way on it.
struct CutAtOnce: Sendable {}

extension Channel {
    fileprivate func cutAtOnce() { triggerUserOutboundEvent(CutAtOnce(), promise: nil) }
}
