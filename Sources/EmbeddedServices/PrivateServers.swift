import PrivateFiles

/// What private servers have in common.
public enum PrivateServers {
    /// The directory at `path`, in which they have theirs, made where it is missing and closed to others. Root's lets the group of the
    /// servers' user pass, who has to reach his own below it; he sees and changes nothing there.
    /// - Parameter keepingMode: whether one with these names in it keeps its mode.
    public static func directory(_ path: String, keepingMode: ([String]) -> Bool = { _ in false }) throws -> DirectoryHandle {
        let user = try ServiceUser.current()
        return try DirectoryHandle.makePrivate(
            path, passage: user.owner == .ourselves ? .nobody : .group(user.gid), keepingMode: keepingMode)
    }
}
