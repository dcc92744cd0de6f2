internal import NIOCore
internal import OffPool

/// How many connections there are, at most so many.
///
/// When all places are taken, a new connection gets that of the one which has been there for longest without asking for anything. So
/// whoever opens connections and is silent, or spells out a request byte by byte, takes them from their own kind.
final class ConnectionCount: Sendable {
    private struct State: Sendable {
        var open: Set<UInt64> = []
        /// Those that have not sent the head of a request yet.
        var silent: [UInt64: any Channel] = [:]
        /// None before this one is silent.
        var firstSilent: UInt64 = 1
        var last: UInt64 = 0
    }

    /// A connection's own.
    struct Place: Sendable {
        fileprivate let number: UInt64
        fileprivate let count: ConnectionCount

        /// A request has come: the place is kept.
        func settle() { count.settle(number) }
        func leave() { count.leave(number) }
    }

    let most: Int
    private let state = Locked(State())

    init(most: Int) { self.most = most }

    var open: Int { state.withLock { $0.open.count } }

    /// - Returns: `nil` where there is no place, and none can be made.
    func enter(_ channel: any Channel) -> Place? {
        let (place, displaced) = state.withLock { state -> (UInt64?, (any Channel)?) in
            var displaced: (any Channel)?
            if state.open.count >= most {
                while state.firstSilent <= state.last, state.silent[state.firstSilent] == nil { state.firstSilent += 1 }
                displaced = state.silent.removeValue(forKey: state.firstSilent)
                guard displaced != nil else { return (nil, nil) }
                state.open.remove(state.firstSilent)
            }
            state.last += 1
            state.open.insert(state.last)
            state.silent[state.last] = channel
            return (state.last, displaced)
        }
        displaced?.close(promise: nil)
        return place.map { Place(number: $0, count: self) }
    }

    private func settle(_ number: UInt64) { state.withLock { _ = $0.silent.removeValue(forKey: number) } }

    private func leave(_ number: UInt64) {
        state.withLock { state in
            state.silent[number] = nil
            state.open.remove(number)
        }
    }
}
