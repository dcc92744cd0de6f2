import Foundation

/// The right to run one thing in one directory, held until it is dropped or the process ends, however it ends.
public final class DirectoryLock: Sendable {
    private let descriptor: Int32

    /// - Throws: ``EmbeddedServiceError`` when another process, or another object of this one, holds it.
    public init(path: String, for what: String) throws {
        // Children must not inherit it: a lock that outlives us with an orphan would block the next start.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw EmbeddedServiceError.system("cannot open \(path)", errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            guard code == EWOULDBLOCK else { throw EmbeddedServiceError.system("cannot lock \(path)", code) }
            throw EmbeddedServiceError(
                "\(what) is already run by another process (it holds \(path)); stop that one or choose another directory")
        }
        self.descriptor = descriptor
    }

    deinit {
        // A child that is being started at this moment has a copy until it closes it: unlocking counts for all copies.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
