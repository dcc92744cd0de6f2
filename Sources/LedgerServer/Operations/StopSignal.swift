import BlockingIO

/// A signal that is set once, when the service is to stop, and wakes all who wait for it.
final class StopSignal: Sendable {
    private struct State: Sendable {
        var isSet = false
        var last: UInt64 = 0
        var listeners: [UInt64: @Sendable () -> Void] = [:]
    }

    private let state = Locked(State())

    var isSet: Bool { state.withLock { $0.isSet } }

    func set() {
        let listeners = state.withLock { state in
            state.isSet = true
            defer { state.listeners = [:] }
            return Array(state.listeners.values)
        }
        for listener in listeners { listener() }
    }

    /// Waits until the signal is set or the task is cancelled.
    func wait() async {
        let (waking, wake) = AsyncStream<Void>.makeStream()
        let number = whenSet { wake.finish() }
        for await _ in waking {}
        if let number { state.withLock { _ = $0.listeners.removeValue(forKey: number) } }
    }

    /// - Returns: the listener's number; `nil` if the signal is already set and `body` was called.
    private func whenSet(_ body: @escaping @Sendable () -> Void) -> UInt64? {
        let number = state.withLock { state -> UInt64? in
            guard !state.isSet else { return nil }
            state.last += 1
            state.listeners[state.last] = body
            return state.last
        }
        if number == nil { body() }
        return number
    }
}
