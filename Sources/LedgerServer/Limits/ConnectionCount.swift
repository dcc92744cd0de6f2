import BlockingIO
import LedgerCore
import NIOCore

/// Counts and limits the connections.
///
/// If all places are taken, a new connection gets the place of the oldest one that has not sent a
/// valid token. So a client that opens connections and is silent, sends requests byte by byte, or
/// asks only what needs no token, takes places from its own kind. A connection that has sent a
/// valid token keeps its place while the token is valid.
///
/// A connection that lost its place or found none becomes one of at most ``maxLeaving`` more until
/// its channel is closed; the oldest of these is closed first. Beyond that a new connection is
/// closed at once. So there are never more connections than the two limits together.
final class ConnectionCount: Sendable {
    enum Entry: Sendable, Hashable {
        case taken
        /// There is no place; the client gets an answer that says so.
        case tooMany
        /// The connection must be closed at once.
        case dropped
    }

    private struct Connection: Sendable {
        let number: UInt64
        let channel: any Channel
        var token: AccessToken?
    }

    private struct State: Sendable {
        var open: [ObjectIdentifier: Connection] = [:]
        /// Connections that have sent no valid token, by number.
        var unauthenticated: [UInt64: any Channel] = [:]
        /// No connection with a lower number is unauthenticated.
        var firstUnauthenticated: UInt64 = 1
        /// Connections whose token was revoked. They lose their places first.
        var revoked: [UInt64: any Channel] = [:]
        var last: UInt64 = 0
        /// Connections without a place whose channels are not closed yet.
        var leaving: [ObjectIdentifier: Connection] = [:]

        mutating func add(_ channel: any Channel) -> Entry {
            open[ObjectIdentifier(channel)] = Connection(number: last, channel: channel)
            unauthenticated[last] = channel
            return .taken
        }

        /// Takes a place from a connection that may lose it, if there is one.
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

        /// What becomes of a connection without a place, and which one must be closed for it.
        mutating func turnAway(_ channel: any Channel) -> (Entry, displaced: (any Channel)?) {
            let oldest =
                leaving.count >= ConnectionCount.maxLeaving - 1 ? leaving.values.min { $0.number < $1.number } : nil
            guard leaving.count < ConnectionCount.maxLeaving else { return (.dropped, oldest?.channel) }
            leaving[ObjectIdentifier(channel)] = Connection(number: last, channel: channel)
            return (.tooMany, oldest?.channel)
        }
    }

    /// The maximum number of connections without a place that are not closed yet.
    static let maxLeaving = 64

    let limit: Int
    private let state = Locked(State())

    init(limit: Int) { self.limit = limit }

    /// The number of connections that have a place.
    var open: Int { state.withLock { $0.open.count } }
    /// The number of those that have none and are not closed yet.
    var leaving: Int { state.withLock { $0.leaving.count } }

    /// Takes a place until the channel is closed, for whatever reason.
    func enter(_ channel: any Channel) -> Entry {
        let id = ObjectIdentifier(channel)
        let (entry, displaced) = state.withLock { state -> (Entry, (any Channel)?) in
            state.last += 1
            guard state.open.count >= limit else { return (state.add(channel), nil) }
            // A displaced connection counts until its channel is closed.
            guard state.leaving.count < Self.maxLeaving, let displaced = state.displace() else {
                return state.turnAway(channel)
            }
            return (state.add(channel), displaced)
        }
        displaced?.cutAtOnce()
        guard entry != .dropped else { return entry }
        // The channel lives at least until then, so its identifier stays unique.
        channel.closeFuture.whenComplete { [self] _ in leave(id) }
        return entry
    }

    /// A request with a valid token has arrived: the connection keeps its place.
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

    // MARK: Revoked tokens

    /// Releases the places that were kept for a token that is no longer valid. While at least half
    /// of the places are free, no token is checked.
    /// - Parameter works: whether a token is valid. If that cannot be determined, nothing changes.
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

/// Tells the ``ConnectionCloser`` of a connection to close it, whatever is still under way on it.
struct CutAtOnce: Sendable {}

extension Channel {
    fileprivate func cutAtOnce() { triggerUserOutboundEvent(CutAtOnce(), promise: nil) }
}
