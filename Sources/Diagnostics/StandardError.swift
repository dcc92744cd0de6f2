import BlockingIO
import Glibc
import Texts

/// Standard error, for people: the only way to it.
///
/// Nothing that is said here stops whoever says it, also where it cannot be written; and no control
/// character gets to a terminal but those that are made here.
package enum StandardError {
    /// Whether somebody may be looking.
    package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Says something, on a line or several, and waits for whoever reads it slowly.
    package static func say(_ text: String) {
        _ = StandardStreams.write(Array((text.printableLines + "\n").utf8), to: STDERR_FILENO)
    }

    /// Writes text over the line where the cursor is.
    package static func redraw(_ text: String) {
        _ = StandardStreams.write(Array("\r\u{1B}[K\(text.printable)".utf8), to: STDERR_FILENO, timeout: timeout)
    }

    /// Leaves a line that was drawn as it is, and goes on below it.
    package static func endLine() { _ = StandardStreams.write([0x0A], to: STDERR_FILENO, timeout: timeout) }

    // MARK: Logs

    /// In milliseconds.
    private static let timeout: Int32 = 5000
    /// Lines that nobody took since the last one that somebody did.
    private static let lost = Locked(0)

    /// Logs an entry, on one line whatever is in it. What nobody takes for some seconds is lost,
    /// and counted: a service works also where its log is full or is read by nobody.
    static func log(_ line: String) {
        let missed = lost.withLock { $0 }
        let note = missed > 0 ? "(\(missed) lines could not be written here)\n" : ""
        // Somebody has waited in vain already.
        let line = String(String.UnicodeScalarView(line.unicodeScalars.map { $0 == "\n" ? " " : $0 })).printable
        let isTaken = StandardStreams.write(
            Array((note + line + "\n").utf8), to: STDERR_FILENO, timeout: missed > 0 ? 0 : timeout)
        if isTaken, missed > 0 { lost.withLock { $0 -= missed } } else if !isTaken { lost.withLock { $0 += 1 } }
    }
}
