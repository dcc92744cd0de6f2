import BlockingIO
import Glibc
import Texts

/// Standard error, for people. All output to it goes through this type.
///
/// A write that fails is ignored, so that messages never stop the work that they are about. Control
/// characters in messages are replaced; a terminal gets only those that this type makes.
package enum StandardError {
    package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes a message of one or more lines. Waits without limit if the reader is slow.
    package static func say(_ text: String) {
        _ = StandardStreams.write(Array((text.printableLines + "\n").utf8), to: STDERR_FILENO)
    }

    /// Replaces the text of the current line of a terminal.
    package static func redraw(_ text: String) {
        _ = StandardStreams.write(Array("\r\u{1B}[K\(text.printable)".utf8), to: STDERR_FILENO, timeout: timeout)
    }

    /// Ends a line that was drawn, so that the next output stands below it.
    package static func endLine() { _ = StandardStreams.write([0x0A], to: STDERR_FILENO, timeout: timeout) }

    // MARK: Logs

    /// How long a log entry waits for a slow reader, in milliseconds.
    private static let timeout: Int32 = 5000
    /// The number of lines that were lost since the last one that was written.
    private static let lost = Locked(0)

    /// Logs an entry as one line. If it cannot be written for some seconds it is dropped and
    /// counted: a service must go on when its log is full or nobody reads it.
    static func log(_ line: String) {
        let missed = lost.withLock { $0 }
        let note = missed > 0 ? "(\(missed) lines could not be written here)\n" : ""
        let line = String(String.UnicodeScalarView(line.unicodeScalars.map { $0 == "\n" ? " " : $0 })).printable
        // After a lost line the next one does not wait again, or every entry would take the whole
        // timeout.
        let isWritten = StandardStreams.write(
            Array((note + line + "\n").utf8), to: STDERR_FILENO, timeout: missed > 0 ? 0 : timeout)
        if isWritten, missed > 0 { lost.withLock { $0 -= missed } } else if !isWritten { lost.withLock { $0 += 1 } }
    }
}
