import Glibc

/// The identity of a file or directory, independent of its path: its device and its inode number.
package struct FileIdentity: Sendable, Hashable, Codable {
    package let device: UInt64
    package let number: UInt64

    init(_ status: stat) { (device, number) = (UInt64(status.st_dev), UInt64(status.st_ino)) }

    /// The identity of an open file.
    package init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    /// The identity of the file that `path` leads to, following links; `nil` if it leads to none,
    /// or if this process may not look.
    package init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// Whether `path` leads to this file; `nil` if this process may not look.
    package func isAt(_ path: String) -> Bool? {
        var status = stat()
        guard stat(path, &status) == 0 else { return errno == EACCES || errno == EPERM ? nil : false }
        return FileIdentity(status) == self
    }
}

extension DirectoryHandle {
    package var identity: FileIdentity? { FileIdentity(descriptor: descriptor) }

    /// The identity of the file that an entry leads to, following links; `nil` if it leads to none.
    package func identity(of name: String) -> FileIdentity? {
        var status = stat()
        guard fstatat(descriptor, name, &status, 0) == 0 else { return nil }
        return FileIdentity(status)
    }

    /// Whether the path still leads to this directory, so that it was not removed, renamed or
    /// replaced.
    package var isThere: Bool { identity.map { $0.isAt(path) == true } ?? false }
}
