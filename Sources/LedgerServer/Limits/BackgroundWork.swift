import Dispatch

/// Work that computes for long, such as taking a large body apart. It has a thread of its own, one
/// at a time: connections, which have the threads of their event loops, and commits are not held up
/// by it.
enum BackgroundWork {
    private static let queue = DispatchQueue(label: "large-bodies")
    /// What is less is done faster than it is handed over.
    static let small = 64 << 10

    static func run<Value: Sendable, Failure>(
        bytes: Int, _ work: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        guard bytes > small else { return try work() }
        let result = await withCheckedContinuation { caller in
            queue.async { caller.resume(returning: Result { () throws(Failure) in try work() }) }
        }
        return try result.get()
    }
}
