import Foundation
import PrivateFiles

/// As whom a service runs, and how: through setpriv(1), so that it is told when we die and is not
/// root.
struct ServiceUser: Sendable {
    let uid: uid_t
    let gid: gid_t
    /// The words before the command, without the parent-death signal; empty when we are not root.
    private var switching: [String] = []

    var owner: FileOwner { FileOwner(uid: uid, gid: gid) }

    /// Ourselves; for root, which Postgres refuses to be, the user `postgres`, or else `nobody`.
    static func current() throws -> ServiceUser {
        guard geteuid() == 0 else { return ServiceUser(uid: geteuid(), gid: getegid()) }
        for name in ["postgres", "nobody"] {
            // The entry is overwritten by the next call; its numbers are copied at once.
            guard let entry = getpwnam(name) else { continue }
            var user = ServiceUser(uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid)
            user.switching = ["--reuid=\(user.uid)", "--regid=\(user.gid)", "--init-groups"]
            return user
        }
        throw EmbeddedServiceError("root cannot run Postgres, and there is no user postgres or nobody to run it as")
    }

    /// The user with what it takes to reach `directory`, which exists.
    ///
    /// A directory below one that the user cannot enter, such as /root, is reached with the
    /// capability to search any. It also lets the service read any file: it is given only when the
    /// directory cannot be reached otherwise.
    func reaching(_ directory: String, log: String) async throws -> ServiceUser {
        if try await canEnter(directory, log: log) { return self }
        var capable = self
        capable.switching += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        if !switching.isEmpty, try await capable.canEnter(directory, log: log) { return capable }
        throw EmbeddedServiceError(
            "user id \(uid) cannot reach \(directory); choose a data directory (--data-dir) that this user can enter")
    }

    /// `command` as this user and in `/`, because the user may not be able to enter our working
    /// directory.
    /// - Parameter signal: sent when the thread that starts it ends, as setpriv(1) names it: `INT`,
    ///   `TERM`, `KILL`.
    func command(_ command: [String], parentDeathSignal signal: String) throws -> [String] {
        let setpriv = try Programs.find("setpriv", package: "util-linux")
        let env = try Programs.find("env", package: "coreutils")
        return [env, "--chdir=/", setpriv, "--pdeathsig=\(signal)"] + switching + ["--"] + command
    }

    /// The user's name; `nil` where it has none, as in some containers.
    var name: String? {
        // The entry is overwritten by the next call; its name is copied at once.
        getpwuid(uid).map { String(cString: $0.pointee.pw_name) }
    }

    /// Whether this user finds the same file at two paths.
    func finds(_ path: String, toBe other: String) async throws -> Bool {
        // Somebody who is not root can look no further than we could.
        guard !switching.isEmpty else { return false }
        let test = try Programs.find("test", package: "coreutils")
        let command = try command([test, path, "-ef", other], parentDeathSignal: "KILL")
        return try await ChildProcess.run(command, environment: ["PATH": Programs.path], log: "/dev/null") == .code(0)
    }

    private func canEnter(_ directory: String, log: String) async throws -> Bool {
        let test = try Programs.find("test", package: "coreutils")
        // Not `test -x`: access(2), which that calls, disregards capabilities.
        let command = try command([test, "-d", "\(directory)/."], parentDeathSignal: "KILL")
        return try await ChildProcess.run(command, environment: ["PATH": Programs.path], log: log) == .code(0)
    }
}
