internal import NIOCore
internal import OffPool

/// How many connections there are, at most so many.
///
/// When all places are taken, a new connection gets that of the one which has been there for longest without having shown a token that
/// works. So whoever opens connections and is silent, spells out a request byte by byte, or asks what anybody may ask, takes them from
/// their own kind.
final class ConnectionCount: Sendable {
    private struct State: Sendable {
        var open: [ObjectIdentifier: UInt64] = [:]
        /// Those that nobody knows yet.
        var strangers: [UInt64: any Channel] = [:]
        /// None before this one is a stranger.
        var firstStranger: UInt64 = 1
        var last: UInt64 = 0
    }

    let most: Int
    private let state = Locked(State())

    init(most: Int) { self.most = most }

    var open: Int { state.withLock { $0.open.count } }

    /// Takes a place until the channel is closed, however that happens.
    /// - Returns: whether there is one, or one could be made.
    func enter(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let (isIn, displaced) = state.withLock { state -> (Bool, (any Channel)?) in
            var displaced: (any Channel)?
            if state.open.count >= most {
                while state.firstStranger <= state.last, state.strangers[state.firstStranger] == nil { state.firstStranger += 1 }
                displaced = state.strangers.removeValue(forKey: state.firstStranger)
                guard let displaced else { return (false, nil) }
                state.open[ObjectIdentifier(displaced)] = nil
            }
            state.last += 1
            state.open[id] = state.last
            state.strangers[state.last] = channel
            return (true, displaced)
        }
        displaced?.close(promise: nil)
        guard isIn else { return false }
        // The channel lives at least until then, so nobody else has its identifier.
        channel.closeFuture.whenComplete { [self] _ in leave(id) }
        return true
    }

    /// A request with a token that works has come: the place is kept.
    func settle(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        state.withLock { state in
            guard let number = state.open[id] else { return }
            state.strangers[number] = nil
        }
    }

    private func leave(_ id: ObjectIdentifier) {
        state.withLock { state in
            guard let number = state.open.removeValue(forKey: id) else { return }
            state.strangers[number] = nil
        }
    }
}
