import Glibc

/// Checks that nobody but root and this process's user can replace any directory on a path.
///
/// In a directory of another user, root can be led astray: a link that is put there at the right
/// moment makes root create, read and give away files elsewhere. So every directory on the path,
/// and on the targets of its links, must belong to root or to this user and be closed to other
/// writers. A directory that others can write must be sticky, like /tmp, and the entry that the
/// path uses there must belong to root or to this user.
enum TrustedPath {
    /// The limit of the kernel.
    private static let mostLinks = 40

    /// - Parameters:
    ///   - path: a path whose last parts may not exist yet.
    ///   - owner: a user who may also own the last entry. The caller must open that entry without
    ///     following a link, and check its owner.
    /// - Throws: ``FileFailure`` that names the first directory that is not safe.
    static func check(_ path: String, endingWith owner: FileOwner) throws(FileFailure) {
        var rest = components(path.hasPrefix("/") ? path : workingDirectory() + "/" + path)
        var place = try open("/", in: AT_FDCWD, of: path)
        defer { close(place.descriptor) }
        var links = 0
        while let name = rest.popLast() {
            let entry = FileStatus(name, in: place.descriptor)
            let isEnd = rest.isEmpty && entry?.owner == owner.uid
            try place.checkWriters(entryIsSafe: isEnd || entry.map { Self.isTrusted($0.owner) } ?? true, of: path)
            guard let entry else { return }
            if entry.isLink {
                links += 1
                guard links <= mostLinks else { throw FileFailure("\(path) has too many symbolic links") }
                let target = try readLink(name, in: place)
                rest += components(target)
                guard target.hasPrefix("/") else { continue }
                try place.move(to: open("/", in: AT_FDCWD, of: path))
            } else if rest.isEmpty {
                return
            } else {
                try place.move(to: open(name, in: place.descriptor, of: path, at: place.path))
            }
        }
    }

    /// The names in a path, in reverse order.
    private static func components(_ path: String) -> [String] {
        path.split(separator: "/").filter { $0 != "." }.map(String.init).reversed()
    }

    private static func workingDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "/" }
        // getcwd(3) allocated the buffer for the caller; it is copied and freed here.
        defer { free(path) }
        return String(cString: path)
    }

    private static func open(_ name: String, in directory: Int32, of path: String, at place: String = "")
        throws(FileFailure)
        -> Place
    {
        let descriptor = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("\(path) cannot be reached: \(place)/\(name)") }
        return Place(descriptor: descriptor, path: name == "/" ? "" : place + "/" + name)
    }

    private static func readLink(_ name: String, in place: Place) throws(FileFailure) -> String {
        var bytes = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = bytes.withUnsafeMutableBytes {
            readlinkat(place.descriptor, name, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        guard count > 0 else { throw .system("\(place.path)/\(name) cannot be read") }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// An open directory on the path.
    private struct Place {
        private(set) var descriptor: Int32
        private(set) var path: String

        mutating func move(to place: Place) {
            close(descriptor)
            self = place
        }

        /// - Parameter entryIsSafe: whether the entry that the path uses in this directory belongs
        ///   to a trusted user, or does not exist.
        func checkWriters(entryIsSafe: Bool, of whole: String) throws(FileFailure) {
            guard let status = FileStatus(descriptor) else { throw .system("\(path)/ cannot be looked at") }
            let here = path.isEmpty ? "/" : path
            let problem = "\(whole) is not safe for user id \(geteuid())"
            let advice = "run as that user, or use a place where only root can write, such as /var/lib/jobledger"
            guard isTrusted(status.owner) else {
                throw FileFailure(
                    "\(problem): \(here) belongs to user id \(status.owner), who could replace what is in it; \(advice)"
                )
            }
            guard status.isOpenToWriters else { return }
            guard status.isSticky, entryIsSafe else {
                throw FileFailure(
                    "\(problem): others can write in \(here) and could replace what is in it; \(advice)")
            }
        }
    }

    private static func isTrusted(_ user: uid_t) -> Bool { user == 0 || user == geteuid() }
}
