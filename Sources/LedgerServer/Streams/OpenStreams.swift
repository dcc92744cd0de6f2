import BlockingIO

/// The open streams, so that the service can wake and end them.
final class OpenStreams: Sendable {
    private struct State: Sendable {
        var last: UInt64 = 0
        var slots: [UInt64: StreamSlot] = [:]
        var isEnded = false
    }

    private let state = Locked(State())

    var count: Int { state.withLock { $0.slots.count } }

    /// - Returns: the stream's number, to be given to ``leave(_:)``.
    func enter(_ slot: StreamSlot) -> UInt64 {
        let (number, isEnded) = state.withLock { state in
            state.last += 1
            state.slots[state.last] = slot
            return (state.last, state.isEnded)
        }
        if isEnded { slot.end(.stopped) }
        return number
    }

    func leave(_ number: UInt64) { state.withLock { _ = $0.slots.removeValue(forKey: number) } }

    func tick() { for slot in slots { slot.tick() } }

    /// Ends all streams, and every stream that enters later.
    func end() {
        state.withLock { $0.isEnded = true }
        for slot in slots { slot.end(.stopped) }
    }

    private var slots: [StreamSlot] { state.withLock { Array($0.slots.values) } }
}
