internal import LedgerCore
internal import NIOCore
internal import OffPool

/// The frames that wait for one stream's connection. Bounded: what does not fit is dropped, and the stream is told to catch up from the
/// log instead.
final class Mailbox: Sendable {
    enum Delivery: Sendable {
        case frames([Frame])
        /// Frames were dropped.
        case overflowed
        /// The moment that the stream wanted to be woken at.
        case alarm
        /// Nothing came for a while: see to the heartbeat, and whether the token still holds.
        case tick
        /// The service is stopping, or the ledger is another one by now.
        case ended
        /// The connection is gone.
        case closed
    }

    private struct State: Sendable {
        var frames: [Frame] = []
        var bytes = 0
        var hasOverflowed = false
        var ticks = false
        var rings = false
        var isEnded = false
        var isClosed = false
        var waiter: CheckedContinuation<Void, Never>?

        var isEmpty: Bool { frames.isEmpty && !hasOverflowed && !ticks && !rings && !isEnded && !isClosed }
    }

    /// Frames are shared, so many of them cost little as long as others wait for them too.
    private static let mostFrames = 1000
    private static let mostBytes = 1 << 20

    private let state = Locked(State())

    // MARK: For the hub

    func put(_ frames: [Frame]) {
        change { state in
            guard !state.hasOverflowed else { return }
            state.frames += frames
            state.bytes += frames.reduce(0) { $0 + $1.bytes.readableBytes }
            if state.frames.count > Self.mostFrames || state.bytes > Self.mostBytes {
                (state.frames, state.bytes, state.hasOverflowed) = ([], 0, true)
            }
        }
    }

    func tick() { change { $0.ticks = true } }
    func alarm() { change { $0.rings = true } }
    func end() { change { $0.isEnded = true } }
    func close() { change { $0.isClosed = true } }

    private func change(_ body: (inout State) -> Void) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            body(&state)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    // MARK: For the stream

    /// What there is; waits for something.
    func next() async -> Delivery {
        while true {
            if let delivery = take() { return delivery }
            await withCheckedContinuation { waiter in
                let isEmpty = state.withLock { state in
                    if state.isEmpty { state.waiter = waiter }
                    return state.isEmpty
                }
                if !isEmpty { waiter.resume() }
            }
        }
    }

    private func take() -> Delivery? {
        state.withLock { state in
            if state.isClosed { return .closed }
            if state.hasOverflowed {
                state.hasOverflowed = false
                return .overflowed
            }
            if !state.frames.isEmpty {
                defer { (state.frames, state.bytes) = ([], 0) }
                return .frames(state.frames)
            }
            if state.rings {
                state.rings = false
                return .alarm
            }
            if state.isEnded { return .ended }
            if state.ticks {
                state.ticks = false
                return .tick
            }
            return nil
        }
    }
}
