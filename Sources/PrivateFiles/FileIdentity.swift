import Glibc

/// Which file or directory it is, whatever it is called and wherever it is seen: its device, and
/// its number there.
package struct FileIdentity: Sendable, Hashable, Codable {
    package let device: UInt64
    package let number: UInt64

    init(_ status: stat) { (device, number) = (UInt64(status.st_dev), UInt64(status.st_ino)) }

    /// Of an open file.
    package init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    /// Of what `path` leads to, through links too; `nil` where it leads nowhere that we can see.
    package init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// Whether `path` leads to this; `nil` where we may not look.
    package func isAt(_ path: String) -> Bool? {
        var status = stat()
        guard stat(path, &status) == 0 else { return errno == EACCES || errno == EPERM ? nil : false }
        return FileIdentity(status) == self
    }
}

extension DirectoryHandle {
    package var identity: FileIdentity? { FileIdentity(descriptor: descriptor) }

    /// Of what a name in it leads to, through links too; `nil` where that is nothing.
    package func identity(of name: String) -> FileIdentity? {
        var status = stat()
        guard fstatat(descriptor, name, &status, 0) == 0 else { return nil }
        return FileIdentity(status)
    }

    /// Whether its path still leads to it: it has not been removed, renamed or replaced.
    package var isThere: Bool { identity.map { $0.isAt(path) == true } ?? false }
}
