import BlockingIO
import LedgerCore

/// Memory that all requests under way have together, of which nobody can take so much that nothing
/// is left for others.
///
/// A token may hold as much as is still free, and one whole body in any case: one alone comes to
/// half of all, two to a third each, and so on. So beyond whole bodies there is always as much left
/// as any of them has.
final class SharedBytes: Sendable {
    private struct State: Sendable {
        var held = 0
        var byToken: [TokenID: Int] = [:]
    }

    private let total: Int
    private let minimum: Int
    private let state = Locked(State())

    /// - Parameter minimum: what a token may hold also where less is free than that.
    init(total: Int, minimum: Int) {
        self.total = total
        self.minimum = minimum
    }

    /// Bytes that are held now, by all.
    var held: Int { state.withLock { $0.held } }

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
