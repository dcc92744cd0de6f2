package import Glibc

/// The user and group that a file is to belong to.
package struct FileOwner: Sendable, Equatable {
    package let uid: uid_t
    package let gid: gid_t

    package init(uid: uid_t, gid: gid_t) { (self.uid, self.gid) = (uid, gid) }

    package static var ourselves: FileOwner { FileOwner(uid: geteuid(), gid: getegid()) }

    /// Makes this user the owner of an open file. Only root can do that for another user.
    func takeOver(_ descriptor: Int32) -> Bool { self == .ourselves || fchown(descriptor, uid, gid) == 0 }
}

/// The status of a file as stat(2) reports it.
struct FileStatus {
    private let status: stat

    /// The status of an open file.
    init?(_ descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.status = status
    }

    /// The status of an entry of an open directory; `nil` if it does not exist, or cannot be looked
    /// at: then `errno` says why. Links are not followed.
    init?(_ name: String, in directory: Int32) {
        var status = stat()
        guard fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        self.status = status
    }

    var owner: uid_t { status.st_uid }
    var group: gid_t { status.st_gid }
    var size: Int { Int(status.st_size) }
    var links: Int { Int(status.st_nlink) }
    var isFile: Bool { status.st_mode & S_IFMT == S_IFREG }
    var isLink: Bool { status.st_mode & S_IFMT == S_IFLNK }
    var isDirectory: Bool { status.st_mode & S_IFMT == S_IFDIR }
    /// Whether it is a device, a pipe or a socket, which pass on what is written to them.
    var isStream: Bool { [S_IFCHR, S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT) }
    var permissions: mode_t { status.st_mode & 0o7777 }

    /// Whether it is a directory that belongs to `owner` and is closed to all others.
    func isPrivateDirectory(of owner: FileOwner) -> Bool {
        isDirectory && self.owner == owner.uid && permissions & 0o077 == 0
    }

    /// Whether anybody but the owner and root's group can create entries in this directory.
    var isOpenToWriters: Bool {
        permissions & S_IWOTH != 0 || permissions & S_IWGRP != 0 && group != 0
    }

    /// Whether users can remove and rename only their own entries of this directory, as in /tmp.
    var isSticky: Bool { permissions & S_ISVTX != 0 }
}
