import Foundation
import PrivateFiles
import Texts

/// A service that outlived the process that ran it: in the middle of its shutdown after our
/// `kill -9`, or, killed in the instant between its start and its request for a parent-death
/// signal, for ever.
///
/// It is known by the directory itself, by device and number. A path is not enough: in a container,
/// or where the directory was replaced, the same path leads to another, whose server is somebody
/// else's.
struct OrphanedServer: Sendable {
    /// The names of its programs.
    let programs: Set<ExactText>
    /// A path in `home` that stands among the words of its command line.
    let argument: String
    let home: ServiceDirectory
    /// The directory that it works in, once it runs; without identity where there is none yet.
    let workplace: (path: String, identity: FileIdentity?)
    /// For messages.
    let what: String

    /// Stops it, and waits for its end.
    ///
    /// The caller holds the directory's lock: whatever still runs there has no owner.
    /// - Parameter gentle: the first signal; it may have got it already.
    func stop(gentle: Int32, forceful: Int32, timeout: Duration = .seconds(20)) async throws {
        let clock = ContinuousClock()
        for (signal, limit) in [(gentle, timeout), (forceful, .seconds(5)), (SIGKILL, .seconds(5))] {
            let deadline = clock.now.advanced(by: limit)
            // Found anew right before the signal: process numbers are used again.
            for pid in try await find() { kill(pid, signal) }
            while clock.now < deadline {
                if try await find().isEmpty { return }
                // Not our child, so that only looking tells.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        throw EmbeddedServiceError("\(what) of an earlier run does not end: process \(try await find())")
    }

    /// What a service is before it is itself: see ``ServiceUser/command(_:parentDeathSignal:)``.
    private static let wrappers: Set<ExactText> = ["env", "setpriv"]

    /// The service; where it is no more, the children that it left: a Postgres session in the
    /// middle of a long computation does not notice that its postmaster was killed, and no server
    /// starts in the directory until it has ended.
    func find() async throws -> [pid_t] {
        let processes = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }
        var found: [pid_t] = []
        for pid in processes {
            guard let program = programNamingArgument(pid) else { continue }
            // What it sees at this path, in its own mount namespace.
            guard try await leads("/proc/\(pid)/root\(home.path(""))", to: home.handle.identity, home.path("")) else {
                continue
            }
            // The directory may have been renamed under a service: it goes on there.
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

    /// Whether it works in its directory, or has not come there from where it was started.
    private func worksHere(_ pid: pid_t) async throws -> Bool {
        let (root, place) = ("/proc/\(pid)/root", "/proc/\(pid)/cwd")
        if try await leads(place, to: workplace.identity, workplace.path) { return true }
        guard let start = FileIdentity(path: root) else { return try await home.user.finds(place, toBe: root) }
        return try await leads(place, to: start, root)
    }

    /// Their command lines are titles such as `postgres: jobledger jobledger 127.0.0.1(40312)
    /// SELECT`, without the directory.
    private func hasName(_ pid: pid_t) -> Bool {
        guard let name = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8) else { return false }
        return programs.contains(ExactText(name.trimmingCharacters(in: .newlines)))
    }

    /// - Parameter path: of `directory`.
    private func leads(_ link: String, to directory: FileIdentity?, _ path: String) async throws -> Bool {
        guard let directory else { return false }
        if let answer = directory.isAt(link) { return answer }
        // Root in a container may not look into another user's process; that user may.
        return try await home.user.finds(link, toBe: path)
    }
}
