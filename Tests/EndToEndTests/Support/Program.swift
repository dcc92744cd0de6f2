import Foundation
import LedgerTesting

@testable import EmbeddedServices

/// A program as a user runs it: with arguments and only the given environment.
struct Program: Sendable {
    let path: String

    /// The program under test. The build puts it into the directory of the test bundle.
    static let jobledger = Program(
        path: URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appending(
            path: "jobledger"
        ).path)

    static func psql() throws -> Program { Program(path: try Programs.find("psql", package: "postgresql-client")) }

    /// Runs the program to its end.
    func run(
        _ arguments: [String], environment: [String: String] = [:], input: Data = Data(), directory: URL? = nil,
        within limit: Duration = .seconds(180)
    ) async throws -> Outcome {
        try await start(arguments, environment: environment, input: input, directory: directory).end(within: limit)
    }

    /// Starts the program. It is killed when the test process ends, in whatever way.
    /// - Parameter directory: the working directory; a new, empty one if not given, so that the
    ///   program reads no `.env` of the developer.
    func start(
        _ arguments: [String], environment: [String: String] = [:], input: Data = Data(), directory: URL? = nil
    ) async throws -> RunningProgram {
        let files = try makeDirectory("run")
        let here = directory ?? files.appending(path: "here")
        try FileManager.default.createDirectory(at: here, withIntermediateDirectories: true)
        let stdin = files.appending(path: "in").path
        try input.write(to: URL(filePath: stdin))
        var environment = environment
        environment["PATH"] = Programs.path
        environment["SWIFT_BACKTRACE"] = "enable=no"
        let process = try await ChildProcess.start(
            [
                try Programs.find("env", package: "coreutils"), "--chdir=\(here.path)",
                try Programs.find("setpriv", package: "util-linux"), "--pdeathsig=KILL", "--",
                "/bin/sh", "-c", #"out=$1 err=$2; shift 2; exec "$@" >"$out" 2>"$err""#, "sh",
                files.appending(path: "out").path, files.appending(path: "err").path, path,
            ] + arguments,
            environment: environment, input: stdin, log: files.appending(path: "log").path)
        return RunningProgram(process: process, files: files)
    }
}

/// Makes a new directory for a test.
func makeDirectory(_ purpose: String) throws -> URL {
    let directory = TestServers.directory(purpose)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    return directory
}
