import Glibc

/// A path on which nobody but root and ourselves can put something else in the place of what we
/// find, or make.
///
/// Root in a directory of another user would be led: a link that is put there in the right instant
/// has root make, read and give away files elsewhere. So every directory on the way, through links
/// too, must be root's or ours and closed to other writers, or else sticky, like /tmp, with an
/// entry there that is root's or ours.
enum TrustedPath {
    /// As the kernel has it.
    private static let mostLinks = 40

    /// - Parameters:
    ///   - path: the end of it may be missing.
    ///   - owner: who may own its last name beside root and us. The caller opens that one without
    ///     following a link, and looks whose it is.
    /// - Throws: ``FileFailure`` that names the directory which is not to be trusted.
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

    /// The last first.
    private static func components(_ path: String) -> [String] {
        path.split(separator: "/").filter { $0 != "." }.map(String.init).reversed()
    }

    private static func workingDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "/" }
        // getcwd(3) allocated it for us; it is copied out and freed here.
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

    /// A directory on the way.
    private struct Place {
        private(set) var descriptor: Int32
        private(set) var path: String

        mutating func move(to place: Place) {
            close(descriptor)
            self = place
        }

        /// - Parameter entryIsSafe: whether what is looked up in it belongs to nobody who is not
        ///   trusted.
        func checkWriters(entryIsSafe: Bool, of whole: String) throws(FileFailure) {
            guard let status = FileStatus(descriptor) else { throw .system("\(path)/ cannot be looked at") }
            let here = path.isEmpty ? "/" : path
            let wayOut = "; work as that user, or keep it where only root can write, such as in /var/lib/jobledger"
            guard isTrusted(status.owner) else {
                throw FileFailure(
                    "\(whole) is not safe for user id \(geteuid()): \(here) belongs to user id \(status.owner), who can put something else in its place"
                        + wayOut)
            }
            guard status.isOpenToWriters else { return }
            guard status.isSticky, entryIsSafe else {
                throw FileFailure(
                    "\(whole) is not safe for user id \(geteuid()): others can write in \(here), and put something else in its place"
                        + wayOut)
            }
        }
    }

    private static func isTrusted(_ user: uid_t) -> Bool { user == 0 || user == geteuid() }
}
