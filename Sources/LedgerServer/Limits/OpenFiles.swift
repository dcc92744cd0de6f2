import Glibc

/// How many files, and so connections, this process may have open.
enum OpenFiles {
    /// For the log, Postgres, Redis and the program itself, and for connections that have to go.
    private static let own = 200 + ConnectionCount.maxLeaving

    /// Asks for as many as the system allows.
    /// - Returns: how many of them connections may take.
    static func raise() -> Int {
        var limit = rlimit()
        // The structure is ours, for the time of the calls.
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 - own }
        limit.rlim_cur = limit.rlim_max
        if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
            _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        return Int(clamping: limit.rlim_cur) - own
    }
}
