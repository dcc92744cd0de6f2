import Glibc

/// The limit of open files, and so of connections, of this process.
enum OpenFiles {
    /// Reserved for the log, Postgres, Redis and the program itself, and for connections that are
    /// being closed.
    private static let own = 200 + ConnectionCount.maxLeaving

    /// Raises the limit as far as the system allows.
    /// - Returns: how many connections fit in it.
    static func raise() -> Int {
        var limit = rlimit()
        // The pointers are valid during the calls, and the structure is a local variable.
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 - own }
        limit.rlim_cur = limit.rlim_max
        if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
            _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        return Int(clamping: limit.rlim_cur) - own
    }
}
