package import PrivateFiles

/// What private servers have in common.
package enum PrivateServers {
    /// The directory at `path`, in which they have theirs, made where it is missing and closed to
    /// others. Root's lets the group of the servers' user pass, who has to reach his own below it;
    /// he sees and changes nothing there.
    /// - Parameter keepingMode: whether one with these names in it keeps its mode.
    package static func directory(_ path: String, keepingMode: ([String]) -> Bool = { _ in false }) throws
        -> DirectoryHandle
    {
        let user = try ServiceUser.current()
        return try DirectoryHandle.makePrivate(
            path, passage: user.owner == .ourselves ? .nobody : .group(user.gid), keepingMode: keepingMode)
    }

    /// Forgets the port that a server was reached by: one in a copy of the directory is not to take
    /// the original's.
    /// - Parameters:
    ///   - name: of the server's directory, and of the server.
    ///   - directory: that has it.
    package static func forgetPort(of name: String, in directory: DirectoryHandle) throws {
        try directory.directory(name)?.remove(ServerAddress.portFile(name))
    }
}

/// A directory in /tmp that has a private server's socket, for those who connect: it is to be its
/// owner's alone.
package struct TemporarySockets: Sendable, Equatable {
    package let path: String
    package let owner: UInt32

    init?(_ directory: SocketDirectory?, _ user: ServiceUser) {
        guard let directory, directory.isTemporary else { return nil }
        (path, owner) = (directory.path, user.uid)
    }
}
