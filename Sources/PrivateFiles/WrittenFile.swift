import Glibc

/// A file that the user named for output.
///
/// A regular file gets its name, and replaces an existing one, when it is complete and on the disk.
/// A device or a pipe, such as `/dev/stdout`, is written directly: replacing it would take it away
/// from everybody. A link is followed only below /dev, where no other user can have put it.
package final class WrittenFile: Sendable {
    package let path: String
    private let descriptor: Int32
    /// The path of the file until it is complete; `nil` for a device or a pipe.
    private let draft: String?

    /// - Parameter mode: the mode of a new file, before the umask. A file that replaces another
    ///   gets no right that the other did not have.
    package init(_ path: String, mode: UInt32) throws(FileFailure) {
        self.path = path
        guard !path.isEmpty else { throw FileFailure("the name of a file to write is empty") }
        let there = FileStatus(path, in: AT_FDCWD)
        if let there, !there.isFile {
            draft = nil
            descriptor = try Self.openStream(path, isLink: there.isLink)
        } else {
            // A random name, so that nobody can have put a link there in advance.
            let draft = "\(path).\(UInt32.random(in: .min ... .max)).part"
            self.draft = draft
            descriptor = open(
                draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & (there?.permissions ?? 0o777))
            guard descriptor >= 0 else { throw .system("\(path) cannot be written") }
        }
    }

    /// Opens a device, a pipe, or a link below /dev.
    private static func openStream(_ path: String, isLink: Bool) throws(FileFailure) -> Int32 {
        guard !isLink || path.hasPrefix("/dev/") else {
            throw FileFailure("\(path) is a symbolic link, which would be replaced: name the file that it points to")
        }
        // Opened without waiting for a reader, because a pipe may never get one.
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (isLink ? 0 : O_NOFOLLOW))
        guard descriptor >= 0 else {
            guard errno == ENXIO else { throw .system("\(path) cannot be written") }
            throw FileFailure("\(path) is a pipe that nobody reads: start the reader first")
        }
        do throws(FileFailure) {
            guard let status = FileStatus(descriptor), status.isStream || isLink && status.isFile else {
                throw FileFailure("\(path) is not a file and cannot be written")
            }
            // A pipe that another user put there, for example in /tmp, would give that user the
            // output.
            guard isLink || [0, geteuid()].contains(status.owner) else {
                throw FileFailure(
                    "\(path) belongs to user id \(status.owner), who would receive the output: name another file")
            }
            guard fcntl(descriptor, F_SETFL, O_APPEND) == 0 else { throw .system("\(path) cannot be written") }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Removes a draft that was not finished.
    deinit {
        close(descriptor)
        if let draft { unlink(draft) }
    }

    /// Whether the path is another name of standard output, such as `/dev/stdout`.
    package var isStandardOutput: Bool {
        FileIdentity(descriptor: descriptor) == FileIdentity(descriptor: STDOUT_FILENO)
    }

    package func write(_ bytes: some Collection<UInt8>) throws(FileFailure) {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw .system("\(path) cannot be written") }
            rest = rest.dropFirst(written)
        }
    }

    /// Forces a regular file to the disk and gives it its name. Call it after the last write.
    package func finish() throws(FileFailure) {
        guard let draft else { return }
        guard fsync(descriptor) == 0, rename(draft, path) == 0 else { throw .system("\(path) cannot be written") }
    }

    /// Writes a whole file.
    package static func write(_ text: String, to path: String, mode: UInt32) throws(FileFailure) {
        let file = try WrittenFile(path, mode: mode)
        try file.write(text.utf8)
        try file.finish()
    }
}
