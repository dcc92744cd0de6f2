import Foundation
import LedgerTesting

/// `jobledger up` in a data directory, and the other commands on it.
struct UpProcess: Sendable {
    let directory: URL
    let program: RunningProgram

    /// Starts `up` and waits until it is ready.
    static func start(in directory: URL) async throws -> UpProcess {
        let up = UpProcess(directory: directory, program: try await begin(in: directory))
        _ = try await eventually("up is ready") { () -> Bool? in
            if !up.program.isRunning { throw ProgramTrouble(description: "up ended:\n\(up.program.errors)") }
            // A run that was killed leaves its `ready` file, so the message of this run must be
            // there too.
            return up.isReady && up.program.errors.contains("The ledger is up.") ? true : nil
        }
        return up
    }

    static func begin(in directory: URL) async throws -> RunningProgram {
        try await Program.jobledger.start(["up", "--data-dir", directory.path])
    }

    /// Runs `body` with `up` in a new directory, and kills it afterwards.
    static func with(_ body: (UpProcess) async throws -> Void) async throws {
        let directory = try makeDirectory("up")
        let up = try await start(in: directory)
        do {
            try await body(up)
        } catch {
            await end(up)
            throw error
        }
        await end(up)
    }

    private static func end(_ up: UpProcess) async {
        await up.program.kill()
        try? await up.untilNothingRuns()
        try? FileManager.default.removeItem(at: up.directory)
    }

    var isReady: Bool { FileManager.default.fileExists(atPath: directory.appending(path: "ready").path) }

    /// The value of a line of `env`.
    func address(_ name: String) throws -> String? {
        try String(contentsOf: directory.appending(path: "env"), encoding: .utf8).split(separator: "\n")
            .first { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.count + 1)) }
    }

    /// Runs a command with this data directory.
    func run(_ arguments: String...) async throws -> Outcome {
        try await Program.jobledger.run(arguments + ["--data-dir", directory.path])
    }

    func head() async throws -> Int? { try await run("status", "--json").json()["head"]?.integer }

    /// The numbers of the processes that name the directory on their command line or work in it.
    func processes(named name: String = "") -> [pid_t] {
        let all = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }
        return all.filter { pid in
            let words = String(
                decoding: FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data(), as: UTF8.self)
            let place = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/cwd")) ?? ""
            let isHere = words.contains(directory.path) || place.hasPrefix(directory.path)
            return isHere && words.split(separator: "\0").first.map { $0.hasSuffix(name) } ?? false
        }
    }

    func untilNothingRuns() async throws {
        try await until("no process of \(directory.path) is left") {
            processes().isEmpty
        }
    }
}
