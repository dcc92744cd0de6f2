import EmbeddedServices
import Foundation
import LedgerCore

/// `jobledger` as another process, on a ledger of this run. It ends with this process.
struct Program: Sendable {
    private let process: ChildProcess
    private let output: URL

    /// - Parameter input: the file for its standard input.
    static func start(
        _ arguments: [String], on ledger: LedgerName, of bench: Bench, input: URL? = nil
    ) async throws -> Program {
        let output = bench.directory.appending(path: "\(arguments[0])-\(UInt32.random(in: .min ... .max)).log")
        let environment = [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
            "DATABASE_URL": bench.databaseURL, "REDIS_URL": bench.redisURL, "JOBLEDGER_SCHEMA": ledger.text,
            "JOBLEDGER_LOG_LEVEL": "warning", "SWIFT_BACKTRACE": "enable=no",
        ]
        // This program itself, whatever its name and wherever it was started.
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let process = try await ChildProcess.start(
            ["/usr/bin/env", "setpriv", "--pdeathsig=KILL", "--", program] + arguments, environment: environment,
            input: input?.path ?? "/dev/null", log: output.path)
        return Program(process: process, output: output)
    }

    var hasExited: Bool { process.hasExited }

    /// Its output so far.
    func printed() -> String { (try? String(contentsOf: output, encoding: .utf8)) ?? "" }

    /// Waits until it ends. Throws if the exit code is not 0, or if it takes longer than `limit`.
    func finish(within limit: Duration) async throws {
        guard let exit = await process.exit(within: limit) else {
            try Task.checkCancellation()
            throw BenchFailure("a process did not end within \(limit); it printed: \(printed().suffix(500))")
        }
        guard exit == .code(0) else { throw BenchFailure("a process ended with \(exit): \(printed().suffix(500))") }
    }

    /// Waits until it has printed `text`.
    func says(_ text: String, within limit: Duration) async throws {
        try await until("a process prints \(text)", within: limit) {
            guard !hasExited || printed().contains(text) else {
                throw BenchFailure("a process ended: \(printed().suffix(500))")
            }
            return printed().contains(text)
        }
    }

    /// Ends it, also in a cancelled task.
    func stop() async {
        await Task {
            for signal in [SIGTERM, SIGKILL] {
                process.signal(signal)
                if await process.exit(within: .seconds(10)) != nil { return }
            }
        }.value
    }

    /// The value of this line of `/proc/PID/status`, such as `VmRSS`, in MB; 0 if the process has
    /// ended.
    func memory(_ name: String) -> Double {
        let status = (try? String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("\(name):") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0) / 1024
    }
}

extension Bench {
    /// Runs a process for as long as `body` runs.
    func withProgram<T: Sendable>(
        _ arguments: [String], on ledger: LedgerName, _ body: (Program) async throws -> T
    ) async throws -> T {
        let program = try await Program.start(arguments, on: ledger, of: self)
        do {
            let result = try await body(program)
            await program.stop()
            return result
        } catch {
            await program.stop()
            throw error
        }
    }
}
