import Glibc

/// The signals of a full-screen program. Their handlers only write the number of the signal into a
/// pipe, which ``TerminalLoop`` reads together with the keys: so everything happens in one thread,
/// one after the other. Other threads wake the loop through the same pipe.
package enum TerminalSignals {
    /// Those that end the program, once the terminal is given back.
    static let ending: Set<Int32> = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]
    private static let noted = ending.union([SIGWINCH, SIGTSTP, SIGCONT])
    private static let crashes = [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT]

    /// The ends of the pipe, for reading and for writing. Made at the first use, before a handler
    /// that reads them is installed, and never changed or freed. The pipe is never closed, so a
    /// handler or a thread that is late writes into a pipe that nobody reads. -1 where no pipe
    /// could be made.
    nonisolated(unsafe) private static let ends: UnsafeMutablePointer<Int32> = {
        let ends = UnsafeMutablePointer<Int32>.allocate(capacity: 2)
        ends.initialize(repeating: -1, count: 2)
        guard pipe(ends) == 0 else { return ends }
        for index in 0..<2 {
            _ = fcntl(ends[index], F_SETFL, O_NONBLOCK)
            _ = fcntl(ends[index], F_SETFD, FD_CLOEXEC)
        }
        return ends
    }()

    /// What the signals of a crash did before. Each element is written before the handler that
    /// reads it is installed.
    nonisolated(unsafe) private static let former = UnsafeMutablePointer<sigaction>.allocate(capacity: 65)

    /// The end of the pipe that the loop reads.
    static var descriptor: Int32 { ends[0] }

    /// Installs the handlers.
    /// - Returns: whether there is a pipe.
    static func install() -> Bool {
        guard descriptor >= 0 else { return false }
        for number in noted { handle(number) { TerminalSignals.note($0) } }
        for number in crashes {
            // The runtime's own handler, which writes a backtrace, runs afterwards.
            sigaction(number, nil, former + Int(number))
            handle(number) { number in
                RawTerminal.restoreAfterCrash()
                sigaction(number, TerminalSignals.former + Int(number), nil)
                // It comes again when this handler returns, and does what it would have done.
                raise(number)
            }
        }
        // Dispatch's threads block signals, and a thread inherits that from the one that started
        // it.
        var wanted = sigset_t()
        sigemptyset(&wanted)
        for number in noted { sigaddset(&wanted, number) }
        pthread_sigmask(SIG_UNBLOCK, &wanted, nil)
        return true
    }

    /// From here on the signals do again what they do by themselves.
    static func remove() {
        for number in noted { signal(number, SIG_DFL) }
        for number in crashes { sigaction(number, former + Int(number), nil) }
    }

    private static func handle(_ number: Int32, _ handler: @escaping @convention(c) (Int32) -> Void) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handler
        // Calls of other threads go on.
        action.sa_flags = SA_RESTART
        sigaction(number, &action, nil)
    }

    /// In a signal handler: write(2) may be called there, and `errno` is as it was.
    private static func note(_ number: Int32) {
        let code = errno
        var byte = UInt8(truncatingIfNeeded: number)
        _ = Glibc.write(ends[1], &byte, 1)
        errno = code
    }

    /// Wakes the loop, from any thread.
    package static func wake() { note(0) }

    /// The signals that have come since the last call.
    static func take() -> [Int32] {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = Glibc.read(ends[0], &bytes, bytes.count)
        return count > 0 ? bytes.prefix(count).filter { $0 != 0 }.map(Int32.init) : []
    }

    /// Does what the signal would have done without a handler. Returns after a stop, once the
    /// process is continued; of the others it does not return.
    static func obey(_ number: Int32) {
        signal(number, SIG_DFL)
        // To this thread, which does not block it: so it has happened when raise(3) returns.
        raise(number)
        handle(number) { TerminalSignals.note($0) }
    }
}
