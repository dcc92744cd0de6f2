import NIOCore

/// Runs a connection's task on the thread of its event loop. Then a request wakes no other thread
/// between its first byte and its commit, or between its commit and its last byte.
///
/// What runs here must not take long, because other connections use the same thread.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
