import Glibc

/// The standard input, output and error that a process gets from its parent. Any of them may be
/// closed, full, or not read by anybody.
package enum StandardStreams {
    /// Prepares the process. Call it before anything is opened.
    ///
    /// Ignores SIGPIPE, so that writing to a closed pipe fails with an error and does not end the
    /// process. Opens `/dev/null` for each standard stream that is closed. Otherwise the next file
    /// or connection would get its number, and messages would be written into it.
    package static func prepare() {
        signal(SIGPIPE, SIG_IGN)
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            // open(2) returns the lowest free number, which is this one. It is opened for the
            // opposite direction, so that using it remains an error.
            _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
    }

    /// PIPE_BUF: if poll(2) reports a pipe as writable, it takes this many bytes without blocking.
    private static let mostAtOnce = 4096

    /// Writes all bytes to a descriptor. Never throws, traps or raises a signal.
    /// - Parameter timeout: how long to wait, in milliseconds, while nothing can be written; `nil`
    ///   waits without limit.
    /// - Returns: whether everything was written; otherwise `errno` has the reason.
    static func write(_ bytes: [UInt8], to descriptor: Int32, timeout: Int32? = nil) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let answer = poll(&ready, 1, timeout ?? -1)
            if answer < 0, errno == EINTR { continue }
            guard answer > 0 else { return false }
            let part = rest.prefix(mostAtOnce)
            let written = part.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR || errno == EAGAIN { continue }
            guard written > 0 else { return false }
            rest = rest.dropFirst(written)
        }
        return true
    }
}

/// Standard output, for results.
package enum StandardOutput {
    /// Standard output cannot be written.
    package struct Closed: Error, CustomStringConvertible {
        /// The `errno` of the failed write.
        let code: Int32

        /// Whether the reader closed the pipe because it has read enough, as `head` does.
        package var isByReader: Bool { code == EPIPE }

        package var description: String {
            "standard output cannot be written (\(String(cString: strerror(code)))): "
                + "the answer is lost, but the changes that the command made remain"
        }
    }

    package static func write(_ bytes: [UInt8]) throws(Closed) {
        guard StandardStreams.write(bytes, to: STDOUT_FILENO) else { throw Closed(code: errno) }
    }
}
