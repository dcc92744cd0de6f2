import Foundation
import PrivateFiles
import Texts

/// A server that outlived the process that started it. After a `kill -9` of that process it may
/// still be shutting down. If the process was killed in the instant before the server asked for its
/// parent-death signal, the server would run for ever.
///
/// It is recognized by its directory, which is identified by device and inode. A path is not
/// enough: in a container, or after the directory was replaced, the same path leads to another
/// directory with somebody else's server.
struct OrphanedServer: Sendable {
    /// The names of the server's programs.
    let programs: Set<ExactText>
    /// A path in `home` that is an argument on the server's command line.
    let argument: String
    let home: ServiceDirectory
    /// The working directory of the running server; without identity if it does not exist yet.
    let workplace: (path: String, identity: FileIdentity?)
    /// The name of the server in messages.
    let what: String

    /// Stops the server and waits for its end.
    ///
    /// The caller must hold the lock of the directory, so that a server which runs there has no
    /// owner.
    /// - Parameters:
    ///   - gentle: the first signal. The server may have received it before.
    ///   - forceful: the second signal, after `timeout`. SIGKILL follows.
    func stop(gentle: Int32, forceful: Int32, timeout: Duration = .seconds(20)) async throws {
        let clock = ContinuousClock()
        for (signal, limit) in [(gentle, timeout), (forceful, .seconds(5)), (SIGKILL, .seconds(5))] {
            let deadline = clock.now.advanced(by: limit)
            // Searched again right before the signal, because process numbers are reused.
            for pid in try await find() { kill(pid, signal) }
            while clock.now < deadline {
                if try await find().isEmpty { return }
                // Polled, because the kernel reports only the end of our own children.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        throw EmbeddedServiceError("\(what) of an earlier run does not end: process \(try await find())")
    }

    /// The programs that start the server by exec: see
    /// ``ServiceUser/command(_:parentDeathSignal:)``.
    private static let wrappers: Set<ExactText> = ["env", "setpriv"]

    /// The server's process; if that is gone, the children that it left behind. A Postgres session
    /// in a long computation does not notice that its postmaster was killed, and no server can
    /// start in the directory until it has ended.
    func find() async throws -> [pid_t] {
        let processes = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }
        var found: [pid_t] = []
        for pid in processes {
            guard let program = programNamingArgument(pid) else { continue }
            // The path is resolved in the mount namespace of that process.
            guard try await leads("/proc/\(pid)/root\(home.path(""))", to: home.handle.identity, home.path("")) else {
                continue
            }
            // A server whose directory was renamed still works in it, so its working directory
            // decides.
            if Self.wrappers.contains(program) {
                found.append(pid)
            } else if try await worksHere(pid) {
                found.append(pid)
            }
        }
        guard found.isEmpty else { return found }
        for pid in processes where hasName(pid) {
            if try await leads("/proc/\(pid)/cwd", to: workplace.identity, workplace.path) { found.append(pid) }
        }
        return found
    }

    private func programNamingArgument(_ pid: pid_t) -> ExactText? {
        guard let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return nil }
        let words = line.split(separator: 0).map { ExactText(String(decoding: $0, as: UTF8.self)) }
        guard let name = words.first?.text.split(separator: "/").last else { return nil }
        let program = ExactText(name)
        return programs.union(Self.wrappers).contains(program) && words.dropFirst().contains(ExactText(argument))
            ? program : nil
    }

    /// Whether the process works in the server's directory, or is still in `/`, where it was
    /// started.
    private func worksHere(_ pid: pid_t) async throws -> Bool {
        let (root, place) = ("/proc/\(pid)/root", "/proc/\(pid)/cwd")
        if try await leads(place, to: workplace.identity, workplace.path) { return true }
        guard let start = FileIdentity(path: root) else { return try await home.user.finds(place, toBe: root) }
        return try await leads(place, to: start, root)
    }

    /// Whether the process has one of the server's names. The command lines of Postgres's children
    /// are titles without the directory, such as `postgres: jobledger jobledger 127.0.0.1(40312)
    /// SELECT`.
    private func hasName(_ pid: pid_t) -> Bool {
        guard let name = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8) else { return false }
        return programs.contains(ExactText(name.trimmingCharacters(in: .newlines)))
    }

    /// Whether a link in /proc leads to a directory.
    /// - Parameter path: the path of `directory`.
    private func leads(_ link: String, to directory: FileIdentity?, _ path: String) async throws -> Bool {
        guard let directory else { return false }
        if let answer = directory.isAt(link) { return answer }
        // In a container, root may be barred from another user's process. Then that user is asked.
        return try await home.user.finds(link, toBe: path)
    }
}
