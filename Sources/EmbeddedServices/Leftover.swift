import Foundation
import Texts

/// A service that outlived the process that ran it: in the middle of its shutdown after our `kill -9`, or, killed in the
/// instant between its start and its request for a parent-death signal, for ever.
enum Leftover {
    /// Stops what runs as one of `programs` with `argument` among its words, or works in that directory, and waits for its end.
    ///
    /// The caller holds the directory's lock: whatever still runs there has no owner.
    /// - Parameters:
    ///   - argument: a path that no other process of these names is started with.
    ///   - gentle: the first signal; it may have got it already.
    static func stop(
        programs: Set<ExactText>, argument: ExactText, gentle: Int32, forceful: Int32, what: String,
        patience: Duration = .seconds(20)
    ) async throws {
        let clock = ContinuousClock()
        for (signal, limit) in [(gentle, patience), (forceful, .seconds(5)), (SIGKILL, .seconds(5))] {
            let deadline = clock.now.advanced(by: limit)
            // Found anew right before the signal: process numbers are used again.
            for pid in find(programs, argument) { kill(pid, signal) }
            while clock.now < deadline {
                if find(programs, argument).isEmpty { return }
                // Not our child, so that only looking tells.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        throw EmbeddedServiceError("\(what) of an earlier run does not end: process \(find(programs, argument))")
    }

    /// What a service is before it is itself: see ``ServiceUser/command(_:parentDeathSignal:)``.
    private static let wrappers: Set<ExactText> = ["env", "setpriv"]

    /// The service; where it is no more, the children that it left: a Postgres session in the middle of a long computation does
    /// not notice that its postmaster was killed, and no server starts in the directory until it has ended.
    static func find(_ programs: Set<ExactText>, _ argument: ExactText) -> [pid_t] {
        let processes = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }
        let services = processes.filter { isService($0, programs, argument) }
        return services.isEmpty ? processes.filter { isOrphan($0, programs, argument) } : services
    }

    private static func isService(_ pid: pid_t, _ programs: Set<ExactText>, _ argument: ExactText) -> Bool {
        guard let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
        let words = line.split(separator: 0).map { ExactText(String(decoding: $0, as: UTF8.self)) }
        guard let program = words.first?.text.split(separator: "/").last else { return false }
        return programs.union(wrappers).contains(ExactText(program)) && words.dropFirst().contains(argument)
    }

    /// Their command lines are titles such as `postgres: jobledger jobledger 127.0.0.1(40312) SELECT`, without the directory.
    private static func isOrphan(_ pid: pid_t, _ programs: Set<ExactText>, _ directory: ExactText) -> Bool {
        guard let name = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8) else { return false }
        return programs.contains(ExactText(name.trimmingCharacters(in: .newlines)))
            && (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/cwd")).map { ExactText($0) } == directory
    }
}
