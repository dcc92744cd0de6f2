import Glibc
package import LedgerCore

/// A terminal that a program has for itself: its keys come at once and are not echoed, and the
/// program draws on a second screen, so that what was there before comes back.
///
/// This file has all that changes the terminal's state. Why the terminal is always given back:
///
/// - Only ``enter()`` changes it, and it changes nothing before `original` has the modes from
///   before.
/// - ``leave()`` gives it back. ``TerminalLoop`` calls it on each way out of its one function, by
///   `defer`, and before the process is suspended or ended by a signal: SIGINT, SIGTERM, SIGHUP and
///   SIGQUIT only wake that loop (see ``TerminalSignals``), and SIGTSTP too.
/// - If the process crashes, the handler of the signal gives it back by ``restoreAfterCrash()``,
///   which calls only functions that may be called in a signal handler: tcsetattr(3) and write(2).
/// - SIGKILL cannot be handled. `reset` mends the terminal then, as after any program.
///
/// Not `Sendable`: the one thread of the loop uses it.
package final class RawTerminal {
    /// The terminal, opened for this program alone: its writes do not block, and other programs
    /// that share standard output are not affected by that.
    let descriptor: Int32
    private let original: termios
    private var isEntered = false

    /// The alternate screen, no cursor, and no new line at the right edge.
    private static let begin = Array("\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l\u{1B}[0m\u{1B}[2J".utf8)
    private static let end = Array("\u{1B}[0m\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l".utf8)

    /// Throws ``NotATerminal`` unless the process has a terminal that can be drawn on.
    package static func require() throws(NotATerminal) {
        let kind = getenv("TERM").map { String(cString: $0) } ?? ""
        guard isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1, kind != "", kind != "dumb" else {
            throw NotATerminal()
        }
    }

    /// - Throws: ``NotATerminal``
    init() throws(NotATerminal) {
        try Self.require()
        // In a container the name may lead nowhere; then the terminal is the process's own.
        var name = [CChar](repeating: 0, count: 256)
        var opened: Int32 = -1
        let flags = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC
        if ttyname_r(STDOUT_FILENO, &name, name.count) == 0 { opened = open(name, flags) }
        if opened < 0 { opened = open("/dev/tty", flags) }
        guard opened >= 0 else { throw NotATerminal() }
        var modes = termios()
        guard tcgetattr(opened, &modes) == 0 else {
            close(opened)
            throw NotATerminal()
        }
        (descriptor, original) = (opened, modes)
        Self.kept.pointee.modes = modes
    }

    deinit { close(descriptor) }

    /// Takes the terminal. Called again, as after the process was stopped and continued, it takes
    /// it again.
    func enter() {
        var modes = original
        // Keys one by one, without echo; output as it is written. Ctrl-C and Ctrl-Z stay signals.
        modes.c_lflag &= ~tcflag_t(ICANON | ECHO | IEXTEN)
        modes.c_iflag &= ~tcflag_t(IXON | ICRNL | INLCR | IGNCR | ISTRIP)
        modes.c_oflag &= ~tcflag_t(OPOST)
        Self.kept.pointee.descriptor = descriptor
        isEntered = true
        while tcsetattr(descriptor, TCSADRAIN, &modes) != 0, errno == EINTR {}
        _ = write(Self.begin)
    }

    /// Gives the terminal back.
    func leave() {
        guard isEntered else { return }
        isEntered = false
        _ = write(Self.end)
        var modes = original
        // Not TCSADRAIN: a terminal that takes no more output must not keep the process.
        while tcsetattr(descriptor, TCSANOW, &modes) != 0, errno == EINTR {}
        Self.kept.pointee.descriptor = -1
    }

    var size: ScreenSize {
        var window = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &window) == 0 else { return ScreenSize(columns: 0, rows: 0) }
        return ScreenSize(columns: Int(window.ws_col), rows: Int(window.ws_row))
    }

    /// What was typed; empty if nothing was, and `nil` if the terminal is gone.
    func read() -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        if count < 0 { return errno == EAGAIN || errno == EINTR ? [] : nil }
        return count == 0 ? nil : Array(bytes.prefix(count))
    }

    /// Writes all bytes; waits at most a second for a terminal that takes no more.
    /// - Returns: whether all were written.
    func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { rest = rest.dropFirst(count) }
            guard count < 0 else { continue }
            guard errno == EAGAIN || errno == EINTR else { return false }
            var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            if poll(&ready, 1, 1000) == 0 { return false }
        }
        return true
    }

    // MARK: After a crash

    private struct Kept {
        /// -1 while the terminal is not taken.
        var descriptor: Int32 = -1
        var modes = termios()
        var text: UnsafeMutablePointer<UInt8>
        var count: Int
    }

    /// What ``restoreAfterCrash()`` reads. It is never freed. Only the one thread of the loop
    /// writes it: the modes before a handler that reads them is installed, and the descriptor, one
    /// word, when the terminal is taken and given back. A pointer, because the checks of exclusive
    /// access that Swift makes of variables must not happen in a signal handler; `init` makes it,
    /// so that the handler does not.
    nonisolated(unsafe) private static let kept: UnsafeMutablePointer<Kept> = {
        let text = UnsafeMutablePointer<UInt8>.allocate(capacity: end.count)
        text.initialize(from: end, count: end.count)
        let kept = UnsafeMutablePointer<Kept>.allocate(capacity: 1)
        kept.initialize(to: Kept(text: text, count: end.count))
        return kept
    }()

    /// In a signal handler.
    static func restoreAfterCrash() {
        let kept = Self.kept
        guard kept.pointee.descriptor >= 0 else { return }
        _ = Glibc.write(kept.pointee.descriptor, kept.pointee.text, kept.pointee.count)
        _ = tcsetattr(kept.pointee.descriptor, TCSANOW, &kept.pointee.modes)
    }
}

/// Standard input and output are not a terminal that a full-screen program can draw on.
package struct NotATerminal: Error, Sendable, CustomStringConvertible {
    package var description: String {
        "top needs a terminal that it can draw on, for input and output; `jobledger jobs` lists the jobs once"
    }
}

extension NotATerminal: ExitStatusProviding {
    package var exitStatus: ExitStatus { .usage }
}
