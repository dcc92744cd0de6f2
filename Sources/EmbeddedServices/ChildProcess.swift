package import Foundation

/// A process started by ``SpawningThread``, in a process group of its own so that Ctrl-C reaches
/// only us, and reaped.
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
    // Touched only within withState(_:), which holds the lock. Not a Mutex: when two threads meet
    // there, the lock is passed on by the kernel, unseen by the thread sanitizer, which then
    // reports a race that is none.
    nonisolated(unsafe) private var state = State()

    private init(pid: pid_t) { self.pid = pid }

    /// Starts `command`, whose first word is the path of an executable, with only `environment`.
    /// - Parameters:
    ///   - input: a file for standard input.
    ///   - log: a file to which standard output and standard error are appended.
    package static func start(
        _ command: [String], environment: [String: String] = [:],  // plain: names of variables, our own
        input: String = "/dev/null", log: String
    ) async throws -> ChildProcess {
        let pid = try await SpawningThread.shared.run {
            try spawn(command, environment: environment, input: input, log: log)
        }
        let child = ChildProcess(pid: pid)
        // A thread a child: few children, and waiting for any child would steal those of others.
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

    /// Sends a signal unless the process has been reaped: its number may be another's then.
    package func signal(_ number: Int32) {
        withState { if $0.exit == nil { _ = kill(pid, number) } }
    }

    /// Waits until the process has ended; `nil` when the task was cancelled first.
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

    /// Waits at most `limit`; `nil` when the process still runs then.
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

    private func withState<Value>(_ body: (inout State) -> Value) -> Value {
        lock.lock()
        defer { lock.unlock() }
        return body(&state)
    }

    private func reap() {
        var info = siginfo_t()
        // Learns of the end without freeing the number, so that signal(_:) never meets a stranger.
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
