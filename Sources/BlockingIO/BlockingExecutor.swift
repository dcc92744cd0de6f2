import Dispatch

/// Runs an actor on a serial dispatch queue of its own, so that its methods may block in C calls.
///
/// Swift's cooperative pool has one thread per core, and its threads must never block. Dispatch
/// serves a serial queue with extra threads, which it creates as needed: a blocked queue costs one
/// thread and delays nobody else. Give each actor its own executor, and keep such actors few: one
/// for a connection, not one for a row.
package final class BlockingExecutor: SerialExecutor {
    private let queue: DispatchQueue

    /// - Parameter label: the name that debuggers show for the thread.
    package init(label: String) {
        queue = DispatchQueue(label: label)
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
