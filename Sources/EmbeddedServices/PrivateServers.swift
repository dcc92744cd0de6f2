package import PrivateFiles

/// Operations that all private servers share.
package enum PrivateServers {
    /// The parent directory of the servers' directories, which is made if needed and closed to
    /// other users. If root owns it, the group of the servers' user may pass through it to reach
    /// its own directories, but may not list or change anything.
    /// - Parameter keepingMode: whether a directory with these entries keeps its mode.
    package static func directory(_ path: String, keepingMode: ([String]) -> Bool = { _ in false }) throws
        -> DirectoryHandle
    {
        let user = try ServiceUser.current()
        return try DirectoryHandle.makePrivate(
            path, passage: user.owner == .ourselves ? .nobody : .group(user.gid), keepingMode: keepingMode)
    }

    /// Forgets the port of a server, so that a server in a copy of the directory does not take the
    /// original's port.
    /// - Parameters:
    ///   - name: the name of the server and of its directory.
    ///   - directory: the parent of that directory.
    package static func forgetPort(of name: String, in directory: DirectoryHandle) throws {
        try directory.directory(name)?.remove(ServerAddress.portFile(name))
    }
}

/// A directory in /tmp with the socket of a private server. Clients must check that only `owner`
/// can enter it.
package struct TemporarySockets: Sendable, Equatable {
    package let path: String
    package let owner: UInt32

    init?(_ directory: SocketDirectory?, _ user: ServiceUser) {
        guard let directory, directory.isTemporary else { return nil }
        (path, owner) = (directory.path, user.uid)
    }
}
