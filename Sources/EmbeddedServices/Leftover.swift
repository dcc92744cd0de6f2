import Foundation

/// A service that outlived the process that ran it: in the middle of its shutdown after our `kill -9`, or, killed in the
/// instant between its start and its request for a parent-death signal, for ever.
enum Leftover {
    /// Stops what runs as one of `programs` with `argument` among its words, and waits for its end.
    ///
    /// The caller holds the directory's lock: whatever still runs there has no owner.
    /// - Parameters:
    ///   - argument: a path that no other process of these names is started with.
    ///   - gentle: the first signal; it may have got it already.
    static func stop(
        programs: Set<String>, argument: String, gentle: Int32, forceful: Int32, what: String, patience: Duration = .seconds(20)
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
    private static let wrappers: Set<String> = ["env", "setpriv"]

    static func find(_ programs: Set<String>, _ argument: String) -> [pid_t] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { pid_t($0) }.filter { pid in
            guard let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
            let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            guard let program = words.first?.split(separator: "/").last else { return false }
            return programs.union(wrappers).contains(String(program)) && words.dropFirst().contains(argument)
        }
    }
}
