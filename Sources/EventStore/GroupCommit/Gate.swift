/// Opens once, and lets through the one who waits for it.
struct Gate: Sendable {
    private let stream: AsyncStream<Never>
    private let end: AsyncStream<Never>.Continuation

    init() { (stream, end) = AsyncStream.makeStream() }

    static var opened: Gate {
        let gate = Gate()
        gate.open()
        return gate
    }

    func open() { end.finish() }

    /// Returns when it is open, or the task is cancelled.
    func wait() async { for await _ in stream {} }
}
