package import Foundation

/// A child process that ``SpawningThread`` started and that is reaped when it ends. It has its own
/// process group, so that Ctrl-C reaches only this process.
package final class ChildProcess: Sendable {
    /// How a process ended.
    package enum Exit: Sendable, Equatable, CustomStringConvertible {
        case code(Int32)
        case signal(Int32)

        package var description: String {
            switch self {
            case .code(let code): "exit code \(code)"
            case .signal(let signal): "signal \(signal)"
            }
        }
    }

    private struct State {
        var exit: Exit?
        var waiters: [Int: CheckedContinuation<Exit?, Never>] = [:]
        var lastWaiter = 0
    }

    package let pid: pid_t
    private let lock = NSLock()
    // Accessed only within withState(_:), which holds the lock. Not a Mutex: under contention the
    // kernel hands a Mutex over, which the thread sanitizer does not see, so it reports a false
    // race.
    nonisolated(unsafe) private var state = State()

    private init(pid: pid_t) { self.pid = pid }

    /// Starts a process.
    /// - Parameters:
    ///   - command: the path of an executable, and its arguments.
    ///   - environment: the whole environment of the process.
    ///   - input: the file for standard input.
    ///   - log: the file to which standard output and standard error are appended.
    /// - Throws: ``EmbeddedServiceError`` if the process cannot be started.
    package static func start(
        _ command: [String], environment: [String: String] = [:],  // plain: names of variables, our own
        input: String = "/dev/null", log: String
    ) async throws -> ChildProcess {
        let pid = try await SpawningThread.shared.run {
            try spawn(command, environment: environment, input: input, log: log)
        }
        let child = ChildProcess(pid: pid)
        // One thread a child is cheap, because there are few. One thread that waits for any child
        // would also reap children of other code.
        Thread.detachNewThread { child.reap() }
        return child
    }

    /// Runs `command` to its end.
    static func run(
        _ command: [String], environment: [String: String] = [:],  // plain: names of variables, our own
        input: String = "/dev/null", log: String
    ) async throws -> Exit {
        let child = try await start(command, environment: environment, input: input, log: log)
        guard let exit = await child.exit() else {
            child.signal(SIGKILL)
            throw CancellationError()
        }
        return exit
    }

    package var hasExited: Bool { withState { $0.exit != nil } }

    /// Sends a signal, unless the process has been reaped and another may have its number.
    package func signal(_ number: Int32) {
        withState { if $0.exit == nil { _ = kill(pid, number) } }
    }

    /// Waits until the process has ended; `nil` if the task is cancelled first.
    package func exit() async -> Exit? {
        let waiter = withState {
            $0.lastWaiter += 1
            return $0.lastWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let exit = withState { state -> Exit?? in
                    if let exit = state.exit { return exit }
                    // Cancellation before this line finds no waiter to wake; cancellation after it
                    // does.
                    if Task.isCancelled { return .some(nil) }
                    state.waiters[waiter] = continuation
                    return nil
                }
                if let exit { continuation.resume(returning: exit) }
            }
        } onCancel: {
            withState { $0.waiters.removeValue(forKey: waiter) }?.resume(returning: nil)
        }
    }

    /// Waits at most `limit`; `nil` if the process still runs then.
    package func exit(within limit: Duration) async -> Exit? {
        await withTaskGroup(of: Exit?.self) { group in
            group.addTask { await self.exit() }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    /// Sends signals, one after the other, until the process has ended.
    ///
    /// The waiting is a separate task, so that cancelling the caller does not cut it short.
    /// - Parameter signals: the signals, each with the time to wait for its effect.
    /// - Returns: whether the process has ended.
    func end(by signals: [(number: Int32, limit: Duration)]) async -> Bool {
        await Task {
            for (number, limit) in signals {
                signal(number)
                if await exit(within: limit) != nil { return true }
            }
            return false
        }.value
    }

    private func withState<Value>(_ body: (inout State) -> Value) -> Value {
        lock.lock()
        defer { lock.unlock() }
        return body(&state)
    }

    private func reap() {
        var info = siginfo_t()
        // Waits without reaping, so that the number stays taken until the state is locked. So
        // signal(_:) never reaches another process.
        while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        let waiters = withState { state in
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
            // The macros WIFSIGNALED, WTERMSIG and WEXITSTATUS, which Swift does not import.
            state.exit = status & 0x7f == 0 ? .code(status >> 8 & 0xff) : .signal(status & 0x7f)
            defer { state.waiters = [:] }
            return (state.waiters.values, state.exit)
        }
        for waiter in waiters.0 { waiter.resume(returning: waiters.1) }
    }
}
