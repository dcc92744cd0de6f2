import Foundation

/// The bytes of a file of settings, or of what stands in its place: a link, or a pipe that a
/// password manager writes into.
enum SettingsFile {
    typealias Problem = LedgerSettings.Problem

    /// Far more than settings need.
    private static let mostBytes = 1 << 20
    /// How long whoever writes into a pipe may take for its next bytes.
    private static let timeout = Duration.seconds(10)

    /// - Returns: `nil` where nothing of this name is.
    static func read(_ path: String) throws(Problem) -> [UInt8]? {
        // Not to wait for a writer, should it be a pipe, for ever.
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
            throw Problem(description: "\(path) cannot be read: it is a directory, and no file of settings")
        }
        let isPipe = status.st_mode & S_IFMT == S_IFIFO
        // A pipe without a writer is at its end, and one whose writer has not begun as well.
        if isPipe { try wait(descriptor, path) }
        let bytes = try readToEnd(descriptor, path)
        guard !(isPipe && bytes.isEmpty) else {
            throw Problem(
                description:
                    "\(path) is a pipe, and nothing came out of it: its writer has to write all settings each time")
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
                throw Problem(description: "\(path) is larger than \(mostBytes) bytes: it is no file of settings")
            }
        }
    }

    /// Waits until there are bytes, or the writer is gone.
    private static func wait(_ descriptor: Int32, _ path: String) throws(Problem) {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        while true {
            let left = max(.zero, ContinuousClock.now.duration(to: deadline))
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = poll(&waiting, 1, Int32(left / .milliseconds(1)))
            if count > 0 { return }
            guard count < 0, errno == EINTR else {
                throw Problem(description: "\(path) cannot be read: nobody has written into it for \(timeout)")
            }
        }
    }

    private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }
}
