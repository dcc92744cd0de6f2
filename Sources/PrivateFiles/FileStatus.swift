package import Glibc

/// Whose a file is to be.
package struct FileOwner: Sendable, Equatable {
    package let uid: uid_t
    package let gid: gid_t

    package init(uid: uid_t, gid: gid_t) { (self.uid, self.gid) = (uid, gid) }

    package static var ourselves: FileOwner { FileOwner(uid: geteuid(), gid: getegid()) }

    /// Makes an open file its own. Nobody but root can give something to another.
    func takes(_ descriptor: Int32) -> Bool { self == .ourselves || fchown(descriptor, uid, gid) == 0 }
}

/// What the system says of a file.
struct FileStatus {
    private let status: stat

    /// Of an open file.
    init?(_ descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.status = status
    }

    /// Of `name` in an open directory; of a link itself, not of what it points to. `nil` where
    /// there is nothing.
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
    /// Whether what is written there goes on to somebody, or nowhere.
    var isStream: Bool { [S_IFCHR, S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT) }
    var permissions: mode_t { status.st_mode & 0o7777 }

    /// Whether others than its owner, and root's group, can put something into this directory.
    var isOpenToWriters: Bool {
        permissions & S_IWOTH != 0 || permissions & S_IWGRP != 0 && group != 0
    }

    /// Whether in this directory everybody can remove and rename what is his own, and nothing else,
    /// as in /tmp.
    var isSticky: Bool { permissions & S_ISVTX != 0 }
}
