import Dispatch

/// Runs an actor on a serial dispatch queue of its own, so that its methods may block on C calls.
///
/// Swift's cooperative pool has one thread a core and must never block. A serial queue is served by
/// the overcommitting threads of Dispatch, which are made as needed: one blocked queue costs one
/// thread and holds up nobody else. Use one executor an actor, and few actors: connections, not
/// rows.
package final class BlockingExecutor: SerialExecutor {
    private let queue: DispatchQueue

    /// - Parameter label: shown by debuggers for the thread that serves it.
    package init(label: String) {
        queue = DispatchQueue(label: label)
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
