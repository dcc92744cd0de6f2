package import Glibc

extension DirectoryHandle {
    /// Who, besides the owner, may pass through a private directory to directories below it.
    package enum Passage: Sendable, Equatable {
        case nobody
        /// The members of a group, who can neither list nor change the directory.
        case group(gid_t)
    }

    /// The directory at `path`, which only its owner may list and change. It is made if needed.
    ///
    /// Refuses a directory that somebody else could have prepared: a link, a directory of another
    /// user, or one to which others may have added files. For root, also refuses a path on which
    /// somebody else could replace a directory. Links within the path are followed, but the last
    /// name must not be a link.
    /// - Parameters:
    ///   - owner: the owner of the directory; this process's user if not given. Root gives a new or
    ///     empty directory to the owner.
    ///   - keepingMode: whether a directory with these entries keeps its mode, because it also
    ///     serves other purposes.
    package static func makePrivate(
        _ path: String, for owner: FileOwner = .ourselves, passage: Passage = .nobody,
        keepingMode: ([String]) -> Bool = { _ in false }
    ) throws(FileFailure) -> DirectoryHandle {
        let path = trimmed(path)
        if geteuid() == 0 { try TrustedPath.check(path, endingWith: owner) }
        try makeParents(of: path)
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw .system("the directory \(path) cannot be made") }
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if descriptor < 0, errno == ENOTDIR || errno == ELOOP, FileStatus(path, in: AT_FDCWD)?.isLink == true {
            throw FileFailure(
                "\(path) is a symbolic link, which is not followed here: name the directory that it points to")
        }
        let directory = try DirectoryHandle(descriptor, path)
        // Checked again, because a missing parent could have been made by somebody else meanwhile.
        if geteuid() == 0 { try TrustedPath.check(path, endingWith: owner) }
        try directory.take(for: owner, passage, keepingMode)
        return directory
    }

    /// A new directory with a short path in /tmp that only `owner` may enter.
    package static func makeTemporary(for owner: FileOwner = .ourselves) throws(FileFailure) -> DirectoryHandle {
        var template = Array("/tmp/jobledger-XXXXXX".utf8CString)
        // mkdtemp(3) replaces the X in the buffer and does not change its length.
        guard template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!) }) != nil else {
            throw .system("no directory can be made in /tmp")
        }
        return try makePrivate(
            String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self), for: owner)
    }

    /// The directory at `path`, if it belongs to `owner`, is closed to all others, and is not a
    /// link; otherwise `nil`. Makes and changes nothing.
    /// - Throws: ``FileFailure`` if such a directory cannot be opened, or if the path cannot be
    ///   looked at.
    package static func findPrivate(_ path: String, of owner: FileOwner) throws(FileFailure) -> DirectoryHandle? {
        // Looked at before it is opened, because the directory of another user may be closed to us.
        guard let found = FileStatus(path, in: AT_FDCWD) else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw .system("\(path) cannot be looked at")
        }
        guard found.isPrivateDirectory(of: owner) else { return nil }
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        // Removed meanwhile, or replaced by a file or a link.
        if descriptor < 0, errno == ENOENT || errno == ENOTDIR || errno == ELOOP { return nil }
        let directory = try DirectoryHandle(descriptor, path)
        guard let status = FileStatus(descriptor) else { throw .system("\(path) cannot be looked at") }
        return status.isPrivateDirectory(of: owner) ? directory : nil
    }

    /// A subdirectory, which must not be a link; `nil` if it does not exist.
    package func directory(_ name: String) throws(FileFailure) -> DirectoryHandle? {
        let descriptor = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT { return nil }
        return try DirectoryHandle(descriptor, path(name))
    }

    private static func makeParents(of path: String) throws(FileFailure) {
        let parent = parent(of: path)
        guard FileStatus(parent, in: AT_FDCWD) == nil else { return }
        try makeParents(of: parent)
        if mkdir(parent, 0o755) != 0, errno != EEXIST { throw .system("the directory \(parent) cannot be made") }
    }

    /// The path of the directory that contains `path`.
    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : trimmed(String(path[..<slash]))
    }

    private static func trimmed(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    private func take(for owner: FileOwner, _ passage: Passage, _ keepsMode: ([String]) -> Bool) throws(FileFailure) {
        guard let status = FileStatus(descriptor) else { throw .system("\(path) cannot be looked at") }
        let names = try names()
        guard status.owner == owner.uid || status.owner == geteuid() && names.isEmpty else {
            throw FileFailure(
                "\(path) belongs to user id \(status.owner), but must belong to user id \(owner.uid): "
                    + "choose another directory, or run as that user")
        }
        guard names.isEmpty || !status.isOpenToWriters else {
            throw FileFailure(
                "others can write in \(path), and may have put something there: check its content, then run "
                    + "chmod go-w \(path)")
        }
        if !names.isEmpty, keepsMode(names) { return }
        var (group, mode) = (owner.gid, mode_t(0o700))
        if case .group(let other) = passage { (group, mode) = (other, 0o710) }
        let hasOwner = status.owner == owner.uid && status.group == group || fchown(descriptor, owner.uid, group) == 0
        guard hasOwner, fchmod(descriptor, mode) == 0 else { throw .system("\(path) cannot be closed to others") }
    }
}
