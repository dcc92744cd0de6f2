import Foundation

/// The thread that starts every child process. It lives as long as this process.
///
/// The kernel sends a child its parent-death signal when the *thread* that started it ends, not
/// when the process does. Threads of Dispatch and of Swift's pool end when they are idle, and their
/// children would be stopped.
final class SpawningThread: Sendable {
    static let shared = SpawningThread()

    private let condition = NSCondition()
    // Accessed only between condition.lock() and condition.unlock() in this file. Not a Mutex,
    // because the thread must sleep until there is work.
    nonisolated(unsafe) private var waiting: [@Sendable () -> Void] = []

    private init() {
        Thread.detachNewThread { [self] in
            while true { next()() }
        }
    }

    func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            add { continuation.resume(with: Result { try work() }) }
        }
    }

    private func add(_ work: @escaping @Sendable () -> Void) {
        condition.lock()
        defer { condition.unlock() }
        waiting.append(work)
        condition.signal()
    }

    private func next() -> @Sendable () -> Void {
        condition.lock()
        defer { condition.unlock() }
        while waiting.isEmpty { condition.wait() }
        return waiting.removeFirst()
    }
}
