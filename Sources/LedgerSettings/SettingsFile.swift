import Foundation

/// Reads the bytes of a file of settings. It may be a link, or a pipe that a password manager
/// writes to.
enum SettingsFile {
    typealias Problem = LedgerSettings.Problem

    /// Far more than settings need.
    private static let mostBytes = 1 << 20
    /// How long the writer of a pipe may take for its next bytes.
    private static let timeout = Duration.seconds(10)

    /// - Returns: `nil` if nothing has this name.
    static func read(_ path: String) throws(Problem) -> [UInt8]? {
        // O_NONBLOCK, because opening a pipe would otherwise wait without limit for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let code = errno
            var status = stat()
            if code == ENOENT, lstat(path, &status) != 0 { return nil }
            throw Problem(
                description: code == ENOENT
                    ? "\(path) is a symbolic link to something that is not there"
                    : "\(path) cannot be read: \(text(code))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw Problem(description: "\(path) cannot be read: \(text(errno))")
        }
        guard status.st_mode & S_IFMT != S_IFDIR else {
            throw Problem(description: "\(path) cannot be read: it is a directory and not a file of settings")
        }
        let isPipe = status.st_mode & S_IFMT == S_IFIFO
        // Before its writer has opened it, a pipe reads as if it were at its end.
        if isPipe { try wait(descriptor, path) }
        let bytes = try readToEnd(descriptor, path)
        guard !(isPipe && bytes.isEmpty) else {
            throw Problem(
                description:
                    "\(path) is a pipe, and nothing came out of it: its writer must write all settings each time"
            )
        }
        return bytes
    }

    private static func readToEnd(_ descriptor: Int32, _ path: String) throws(Problem) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = buffer.withUnsafeMutableBytes { Foundation.read(descriptor, $0.baseAddress, $0.count) }
            if count == 0 { return bytes }
            guard count > 0 else {
                guard errno == EAGAIN || errno == EINTR else {
                    throw Problem(description: "\(path) cannot be read: \(text(errno))")
                }
                try wait(descriptor, path)
                continue
            }
            bytes += buffer[..<count]
            guard bytes.count <= mostBytes else {
                throw Problem(description: "\(path) is larger than \(mostBytes) bytes: it is not a file of settings")
            }
        }
    }

    /// Waits until bytes can be read or the writer is gone.
    private static func wait(_ descriptor: Int32, _ path: String) throws(Problem) {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        while true {
            let left = max(.zero, ContinuousClock.now.duration(to: deadline))
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = poll(&waiting, 1, Int32(left / .milliseconds(1)))
            if count > 0 { return }
            guard count < 0, errno == EINTR else {
                throw Problem(description: "\(path) cannot be read: nobody has written to it for \(timeout)")
            }
        }
    }

    private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }
}
