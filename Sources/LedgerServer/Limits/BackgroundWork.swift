import Dispatch

/// Runs work that computes for long, such as parsing a large body. It has one thread of its own, so
/// that it delays neither the event loops of connections nor commits.
enum BackgroundWork {
    private static let queue = DispatchQueue(label: "large-bodies")
    /// Smaller work, in bytes, takes less time than handing it to the other thread.
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
