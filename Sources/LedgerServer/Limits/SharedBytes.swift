import BlockingIO
import LedgerCore

/// The memory that all requests under way share. No token can take so much that nothing is left for
/// others.
///
/// A token may hold as much as is still free, and `minimum` in any case. One token alone gets half
/// of the total, two get a third each, and so on. So, apart from the minimum, as much is always
/// free as any token holds.
final class SharedBytes: Sendable {
    private struct State: Sendable {
        var held = 0
        var byToken: [TokenID: Int] = [:]
    }

    private let total: Int
    private let minimum: Int
    private let state = Locked(State())

    /// - Parameters:
    ///   - total: bytes for all tokens together.
    ///   - minimum: bytes that a token may hold even if less than that is free.
    init(total: Int, minimum: Int) {
        self.total = total
        self.minimum = minimum
    }

    /// The bytes that all tokens hold now.
    var held: Int { state.withLock { $0.held } }

    /// Takes bytes for a token.
    /// - Returns: whether there was room.
    func take(_ count: Int, for token: TokenID) -> Bool {
        state.withLock { state in
            let own = state.byToken[token, default: 0] + count
            let free = total - state.held - count
            guard free >= 0, own <= max(minimum, free) else { return false }
            state.held += count
            state.byToken[token] = own
            return true
        }
    }

    func giveBack(_ count: Int, of token: TokenID) {
        state.withLock { state in
            state.held -= count
            state.byToken[token, default: count] -= count
            if state.byToken[token] == 0 { state.byToken[token] = nil }
        }
    }
}
