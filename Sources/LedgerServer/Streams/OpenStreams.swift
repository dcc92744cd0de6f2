import BlockingIO
import NIOCore

/// The open streams, so that the service can wake and end them, and look whether their tokens are
/// still valid.
final class OpenStreams: Sendable {
    private struct Stream: Sendable {
        let slot: StreamSlot
        let token: AccessToken?
    }

    private struct State: Sendable {
        var last: UInt64 = 0
        var streams: [UInt64: Stream] = [:]
        var isEnded = false
    }

    private let state = Locked(State())

    var count: Int { state.withLock { $0.streams.count } }

    /// - Parameter token: by which it was opened; `nil` if the service requires none.
    /// - Returns: the stream's number, to be given to ``leave(_:)``.
    func enter(_ slot: StreamSlot, _ token: AccessToken? = nil) -> UInt64 {
        let (number, isEnded) = state.withLock { state in
            state.last += 1
            state.streams[state.last] = Stream(slot: slot, token: token)
            return (state.last, state.isEnded)
        }
        if isEnded { slot.end(.stopped) }
        return number
    }

    /// Runs one stream: `feed` fills its slot while `write` empties it. It ends when `write`
    /// returns. When the connection closes, so does the slot.
    func run(
        _ token: AccessToken?, until closed: EventLoopFuture<Void>,
        feed: @escaping @Sendable (StreamSlot) async throws -> Void, write: (StreamSlot) async throws -> Void
    ) async throws {
        let slot = StreamSlot()
        closed.whenComplete { _ in slot.close() }
        let number = enter(slot, token)
        defer { leave(number) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await feed(slot) }
            defer {
                slot.close()
                group.cancelAll()
            }
            try await write(slot)
        }
    }

    func leave(_ number: UInt64) { state.withLock { _ = $0.streams.removeValue(forKey: number) } }

    func tick() { for stream in streams { stream.slot.tick() } }

    /// Ends all streams, and every stream that enters later.
    func end() {
        state.withLock { $0.isEnded = true }
        for stream in streams { stream.slot.end(.stopped) }
    }

    /// Closes the streams whose token is no longer valid. Streams go on meanwhile.
    func review(_ isValid: (AccessToken) async -> Bool) async {
        let all = streams
        let tokens = Dictionary(all.compactMap { stream in stream.token.map { ($0.id, $0) } }) { first, _ in first }
        for (id, token) in tokens where await !isValid(token) {
            for stream in all where stream.token?.id == id { stream.slot.close() }
        }
    }

    private var streams: [Stream] { state.withLock { Array($0.streams.values) } }
}
