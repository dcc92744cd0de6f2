/// Opens once, and releases the task that waits for it.
struct Latch: Sendable {
    private let stream: AsyncStream<Never>
    private let end: AsyncStream<Never>.Continuation

    init() { (stream, end) = AsyncStream.makeStream() }

    static var opened: Latch {
        let latch = Latch()
        latch.open()
        return latch
    }

    func open() { end.finish() }

    /// Returns when it is open, or the task is cancelled.
    func wait() async { for await _ in stream {} }
}
