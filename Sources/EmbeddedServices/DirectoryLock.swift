import Foundation
import PrivateFiles

/// The directory of something that runs is not where it was: removed, renamed, or another stands in
/// its place, which may be somebody else's.
///
/// Nothing is started there again.
package struct DirectoryLost: Error, Sendable, CustomStringConvertible {
    package let description: String
}

/// The right to run one thing in one directory, held until it is dropped or the process ends,
/// however it ends.
package final class DirectoryLock: Sendable {
    private let descriptor: Int32
    private let path: String
    private let what: String

    /// - Throws: ``EmbeddedServiceError`` when another process, or another object of this one,
    ///   holds it.
    package init(path: String, for what: String) throws {
        // Children must not inherit it: a lock that outlives us with an orphan would block the next
        // start.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw EmbeddedServiceError.system("cannot open \(path)", errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            guard code == EWOULDBLOCK else { throw EmbeddedServiceError.system("cannot lock \(path)", code) }
            throw EmbeddedServiceError(
                "\(what) is already run by another process (it holds \(path)); stop that one or choose another directory"
            )
        }
        (self.descriptor, self.path, self.what) = (descriptor, path, what)
        // It may have been removed before we had it: another could make one of this name, and hold
        // that as well.
        try requireHeld()
    }

    /// Whether the file of this name is still the one that is held.
    var isHeld: Bool { FileIdentity(descriptor: descriptor).map { $0.isAt(path) == true } ?? false }

    /// - Throws: ``DirectoryLost`` where the file of this name is not the one that is held: another
    ///   process may hold that one.
    package func requireHeld() throws(DirectoryLost) {
        guard isHeld else {
            throw DirectoryLost(
                description:
                    "\(what): \(path) is not the file that was taken at the start. The directory was removed, renamed or replaced while it was in use, so that nothing is done there any more; start it again where it is to be"
            )
        }
    }

    deinit {
        // A child that is being started at this moment has a copy until it closes it: unlocking
        // counts for all copies.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
