import Foundation
import PrivateFiles

/// The user that a service runs as. Commands run through setpriv(1), which changes the user if this
/// process is root, and asks the kernel for a signal when this process dies.
struct ServiceUser: Sendable {
    let uid: uid_t
    let gid: gid_t
    /// The options of setpriv that change the user; empty if this process is not root.
    private var switching: [String] = []

    var owner: FileOwner { FileOwner(uid: uid, gid: gid) }

    /// The user of this process. If that is root, as which Postgres refuses to run, the user
    /// `postgres`, or else `nobody`.
    static func current() throws -> ServiceUser {
        guard geteuid() == 0 else { return ServiceUser(uid: geteuid(), gid: getegid()) }
        for name in ["postgres", "nobody"] {
            // The next call overwrites the entry, so its numbers are copied at once.
            guard let entry = getpwnam(name) else { continue }
            var user = ServiceUser(uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid)
            user.switching = ["--reuid=\(user.uid)", "--regid=\(user.gid)", "--init-groups"]
            return user
        }
        throw EmbeddedServiceError("root cannot run Postgres, and there is no user postgres or nobody to run it as")
    }

    /// The user, with the capability that it needs to reach `directory`, which must exist.
    ///
    /// If the directory is below one that the user cannot enter, such as /root, the service gets
    /// the capability to search any directory. That capability also lets it read any file, so it is
    /// given only if the directory cannot be reached without it.
    func reaching(_ directory: String, log: String) async throws -> ServiceUser {
        if try await canEnter(directory, log: log) { return self }
        var capable = self
        capable.switching += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        if !switching.isEmpty, try await capable.canEnter(directory, log: log) { return capable }
        throw EmbeddedServiceError(
            "user id \(uid) cannot reach \(directory); choose a data directory (--data-dir) that this user can enter")
    }

    /// The command line that runs `command` as this user. It runs in `/`, because the user may not
    /// be able to enter the working directory of this process.
    /// - Parameter signal: the signal that the process gets when the thread that started it ends,
    ///   as setpriv(1) names it: `INT`, `TERM`, `KILL`.
    func command(_ command: [String], parentDeathSignal signal: String) throws -> [String] {
        let setpriv = try Programs.find("setpriv", package: "util-linux")
        let env = try Programs.find("env", package: "coreutils")
        return [env, "--chdir=/", setpriv, "--pdeathsig=\(signal)"] + switching + ["--"] + command
    }

    /// The user's name; `nil` if it has none, as in some containers.
    var name: String? {
        // The next call overwrites the entry, so its name is copied at once.
        getpwuid(uid).map { String(cString: $0.pointee.pw_name) }
    }

    /// Whether two paths lead to the same file, as this user sees them.
    func finds(_ path: String, toBe other: String) async throws -> Bool {
        // Without root, the user is that of this process, which has already tried.
        guard !switching.isEmpty else { return false }
        let test = try Programs.find("test", package: "coreutils")
        let command = try command([test, path, "-ef", other], parentDeathSignal: "KILL")
        return try await ChildProcess.run(command, environment: ["PATH": Programs.path], log: "/dev/null") == .code(0)
    }

    private func canEnter(_ directory: String, log: String) async throws -> Bool {
        let test = try Programs.find("test", package: "coreutils")
        // Not `test -x`, which calls access(2): that ignores capabilities.
        let command = try command([test, "-d", "\(directory)/."], parentDeathSignal: "KILL")
        return try await ChildProcess.run(command, environment: ["PATH": Programs.path], log: log) == .code(0)
    }
}
