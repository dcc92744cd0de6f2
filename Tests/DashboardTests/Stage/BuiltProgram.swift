import Foundation
import LedgerTesting

@testable import EmbeddedServices

/// A program that the build has made, as a user runs it.
struct BuiltProgram: Sendable {
    let path: String

    static let jobledger = BuiltProgram(named: "jobledger")
    static let demo = BuiltProgram(named: "backtest-demo")

    /// The build puts programs into the directory of the test bundle.
    private init(named name: String) {
        path =
            URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appending(path: name)
            .path
    }

    init(path: String) { self.path = path }

    /// Runs the program to its end.
    /// - Returns: what it has written to standard output.
    /// - Throws: ``BrowserTrouble`` with what it said, if it fails.
    @discardableResult
    func run(_ arguments: [String], environment: [String: String] = [:]) async throws -> String {
        let running = try await start(arguments, environment: environment)
        guard let exit = await running.process.exit(within: .seconds(300)) else {
            await running.kill()
            throw BrowserTrouble(description: "\(path) \(arguments) does not end: \(running.errors)")
        }
        guard exit == .code(0) else {
            throw BrowserTrouble(description: "\(path) \(arguments): \(exit)\n\(running.output)\n\(running.errors)")
        }
        return running.output
    }

    /// Starts the program. It is killed when the test process ends, in whatever way.
    func start(_ arguments: [String], environment: [String: String] = [:]) async throws -> Running {
        let files = try makeDirectory("run")
        var environment = environment
        environment["PATH"] = Programs.path
        let process = try await ChildProcess.start(
            [
                // An empty working directory: the program reads no `.env` of the developer.
                try Programs.find("env", package: "coreutils"), "--chdir=\(files.path)",
                try Programs.find("setpriv", package: "util-linux"), "--pdeathsig=KILL", "--",
                "/bin/sh", "-c", #"exec "$@" >out 2>err"#, "sh", path,
            ] + arguments,
            environment: environment, log: files.appending(path: "log").path)
        return Running(process: process, files: files)
    }

    struct Running: Sendable {
        let process: ChildProcess
        let files: URL

        var output: String { text("out") }
        var errors: String { text("err") }

        private func text(_ name: String) -> String {
            String(decoding: (try? Data(contentsOf: files.appending(path: name))) ?? Data(), as: UTF8.self)
        }

        /// Kills the program and waits until it has ended.
        func kill() async {
            process.signal(SIGKILL)
            _ = await process.exit()
        }

        /// The first line of standard output, once it is complete.
        func firstLine() async throws -> String {
            try await eventually("the program says something") { () -> String? in
                if process.hasExited { throw BrowserTrouble(description: "it ended: \(errors)") }
                let lines = output.split(separator: "\n", omittingEmptySubsequences: false)
                return lines.count > 1 ? String(lines[0]) : nil
            }
        }
    }
}

/// Makes a new directory for a test.
func makeDirectory(_ purpose: String) throws -> URL {
    let directory = TestServers.directory(purpose)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    return directory
}
