import Glibc

/// What a process has from its parent: standard input, output and error. Any of them may be
/// missing, closed, full, or read by nobody.
package enum StandardStreams {
    /// To be called before anything is opened.
    ///
    /// A reader that has gone becomes an error of the write, not the end of the process. The
    /// numbers of streams that are closed are taken, or the next file or connection would get one
    /// of them, and what is said to people would be written into it.
    package static func prepare() {
        signal(SIGPIPE, SIG_IGN)
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            // open(2) gives the lowest number that is free: this one. The other way round, so that
            // using it is an error as before.
            _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
    }

    /// As many bytes a pipe takes at once where it takes any.
    private static let mostAtOnce = 4096

    /// Writes to a descriptor; nothing that it answers is more than an answer.
    /// - Parameter timeout: how long nobody may take anything, in milliseconds; without one it
    ///   waits.
    /// - Returns: whether all of it was taken.
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
    /// It cannot be written.
    package struct Closed: Error, CustomStringConvertible {
        /// Of the system.
        let code: Int32

        /// Whether there was somebody who has read as much as he wanted, as `head` does.
        package var isByReader: Bool { code == EPIPE }

        package var description: String {
            "standard output cannot be written (\(String(cString: strerror(code)))): the answer is lost, and what was changed before it is not undone"
        }
    }

    package static func write(_ bytes: [UInt8]) throws(Closed) {
        guard StandardStreams.write(bytes, to: STDOUT_FILENO) else { throw Closed(code: errno) }
    }
}
