package import Glibc

/// A file that somebody has named for us to write.
///
/// A plain one, or a new one, gets its name when it is whole and on the disk, in the place of what
/// was there. A device or a pipe, such as `/dev/stdout`, is written into, for to replace it would
/// take it from everybody. A link is not followed where others may have put it there.
package final class WrittenFile: Sendable {
    package let path: String
    private let descriptor: Int32
    /// What it is called until it is whole; `nil` for what is written into.
    private let draft: String?

    /// - Parameter mode: of a new file, before the umask; that of one that is replaced becomes no
    ///   wider.
    package init(_ path: String, mode: mode_t) throws(FileFailure) {
        self.path = path
        guard !path.isEmpty else { throw FileFailure("the name of a file to write is empty") }
        let there = FileStatus(path, in: AT_FDCWD)
        if let there, !there.isFile {
            draft = nil
            descriptor = try Self.openStream(path, isLink: there.isLink)
        } else {
            // A name that nobody can have foreseen, and put a link there.
            let draft = "\(path).\(UInt32.random(in: .min ... .max)).part"
            self.draft = draft
            descriptor = open(
                draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & (there?.permissions ?? 0o777))
            guard descriptor >= 0 else { throw .system("\(path) cannot be written") }
        }
    }

    /// What is neither a plain file nor a directory.
    private static func openStream(_ path: String, isLink: Bool) throws(FileFailure) -> Int32 {
        guard !isLink || path.hasPrefix("/dev/") else {
            throw FileFailure("\(path) is a symbolic link, which would be replaced: name the file that it stands for")
        }
        // Nobody may ever read from a pipe: it is opened without waiting for a reader.
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (isLink ? 0 : O_NOFOLLOW))
        guard descriptor >= 0 else {
            guard errno == ENXIO else { throw .system("\(path) cannot be written") }
            throw FileFailure("\(path) is a pipe from which nobody reads: start the reader first")
        }
        do throws(FileFailure) {
            guard let status = FileStatus(descriptor), status.isStream || isLink && status.isFile else {
                throw FileFailure("\(path) is no file, and cannot be written")
            }
            // What a stranger has put there, in /tmp for instance, goes to the stranger.
            guard isLink || [0, geteuid()].contains(status.owner) else {
                throw FileFailure(
                    "\(path) belongs to user id \(status.owner), who would get what is written: name another")
            }
            guard fcntl(descriptor, F_SETFL, O_APPEND) == 0 else { throw .system("\(path) cannot be written") }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// A draft that has become nothing is taken away.
    deinit {
        close(descriptor)
        if let draft { unlink(draft) }
    }

    /// Whether it is standard output by another name, such as `/dev/stdout`.
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

    package func finish() throws(FileFailure) {
        guard let draft else { return }
        guard fsync(descriptor) == 0, rename(draft, path) == 0 else { throw .system("\(path) cannot be written") }
    }

    /// All of it at once.
    package static func write(_ text: String, to path: String, mode: mode_t) throws(FileFailure) {
        let file = try WrittenFile(path, mode: mode)
        try file.write(text.utf8)
        try file.finish()
    }
}
