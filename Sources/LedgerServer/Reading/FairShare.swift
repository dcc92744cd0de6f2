import BlockingIO

/// Places, of which each holder may have a limited share at a time. A holder that wants more waits
/// for its own places, and keeps none from others.
final class FairShare<Holder: Hashable & Sendable>: Sendable {
    private typealias Waiter = (ticket: UInt64, turn: CheckedContinuation<Void, any Error>)

    private struct State {
        var held: [Holder: Int] = [:]
        var waiting: [Holder: [Waiter]] = [:]
        var lastTicket: UInt64 = 0
    }

    /// The maximum number of places of one holder.
    let share: Int
    private let state = Locked(State())

    init(share: Int) { self.share = share }

    /// The number of places that are held, by all holders.
    var held: Int { state.withLock { $0.held.values.reduce(0, +) } }

    /// Runs `body` with a place, as soon as one is free.
    func withPlace<Value: Sendable>(of holder: Holder, _ body: () async throws -> Value) async throws -> Value {
        try await take(holder)
        defer { giveBack(holder) }
        return try await body()
    }

    private func take(_ holder: Holder) async throws {
        let ticket = state.withLock { state -> UInt64? in
            guard state.held[holder, default: 0] >= share else {
                state.held[holder, default: 0] += 1
                return nil
            }
            state.lastTicket += 1
            return state.lastTicket
        }
        guard let ticket else { return }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { turn in
                let isIn = state.withLock { state -> Bool? in
                    if Task.isCancelled { return false }
                    // A place may have become free in the meantime.
                    if state.held[holder, default: 0] < share {
                        state.held[holder, default: 0] += 1
                        return true
                    }
                    state.waiting[holder, default: []].append((ticket, turn))
                    return nil
                }
                if let isIn { turn.resume(with: isIn ? .success(()) : .failure(CancellationError())) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> Waiter? in
                guard let place = state.waiting[holder]?.firstIndex(where: { $0.ticket == ticket }) else { return nil }
                return state.waiting[holder]?.remove(at: place)
            }
            waiter?.turn.resume(throwing: CancellationError())
        }
    }

    /// Gives the place to the holder's next waiter, if there is one.
    private func giveBack(_ holder: Holder) {
        let next = state.withLock { state -> Waiter? in
            if let next = state.waiting[holder]?.first {
                state.waiting[holder]?.removeFirst()
                return next
            }
            state.waiting[holder] = nil
            state.held[holder, default: 1] -= 1
            if state.held[holder] == 0 { state.held[holder] = nil }
            return nil
        }
        next?.turn.resume()
    }
}
