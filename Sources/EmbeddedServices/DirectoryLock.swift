import Foundation
import PrivateFiles

/// The directory of a running service was removed, renamed, or replaced by another directory, which
/// may belong to somebody else. Nothing is started there again.
package struct DirectoryLost: Error, Sendable, CustomStringConvertible {
    package let description: String
}

/// A lock on a directory for one process: the right to run a service there. It lasts until this
/// object is released or the process ends, in whatever way.
package final class DirectoryLock: Sendable {
    private let descriptor: Int32
    private let path: String
    private let what: String

    /// - Parameters:
    ///   - path: the lock file, which is made if needed.
    ///   - what: the name of the service, for messages.
    /// - Throws: ``EmbeddedServiceError`` if another process, or another object of this process,
    ///   holds the lock; ``DirectoryLost`` if the file was removed meanwhile.
    package init(path: String, for what: String) throws {
        // Children must not inherit the descriptor. An orphan that kept the lock would block the
        // next start.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw EmbeddedServiceError.system("cannot open \(path)", errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            guard code == EWOULDBLOCK else { throw EmbeddedServiceError.system("cannot lock \(path)", code) }
            throw EmbeddedServiceError(
                "\(what) is already run by another process, which holds \(path): "
                    + "stop that process or choose another directory")
        }
        (self.descriptor, self.path, self.what) = (descriptor, path, what)
        // The file may have been removed between open and flock. Then another process could make
        // and lock a new file of the same name.
        try requireHeld()
    }

    /// Whether the path still leads to the locked file.
    var isHeld: Bool { FileIdentity(descriptor: descriptor).map { $0.isAt(path) == true } ?? false }

    /// - Throws: ``DirectoryLost`` if the path no longer leads to the locked file. Another process
    ///   may have locked the file that is there now.
    package func requireHeld() throws(DirectoryLost) {
        guard isHeld else {
            throw DirectoryLost(
                description: """
                    \(what): \(path) is not the file that was locked at the start. The directory was removed, renamed \
                    or replaced while it was in use, so it is no longer used. Start again in the right directory
                    """)
        }
    }

    deinit {
        // A child that is being started has a copy of the descriptor for a moment. Closing would
        // leave the lock with that copy; unlocking releases it for all copies.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
