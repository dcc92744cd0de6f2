import Foundation
import LedgerTesting

@testable import EmbeddedServices

/// A program that a test has started.
struct RunningProgram: Sendable {
    let process: ChildProcess
    /// The directory of the files for standard input, output and error.
    let files: URL

    var output: String { text("out") }
    var errors: String { text("err") }
    /// The complete lines of standard output.
    var lines: [String] {
        Array(output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init).dropLast())
    }

    private func text(_ name: String) -> String {
        String(decoding: (try? Data(contentsOf: files.appending(path: name))) ?? Data(), as: UTF8.self)
    }

    var isRunning: Bool { !process.hasExited }

    func signal(_ number: Int32) { process.signal(number) }

    /// Waits until the program ends. Kills it and throws if it does not end within the limit.
    func end(within limit: Duration = .seconds(180)) async throws -> Outcome {
        guard let exit = await process.exit(within: limit) else {
            process.signal(SIGKILL)
            _ = await process.exit()
            throw ProgramTrouble(
                description: "the program does not end within \(limit); it wrote:\n\(output)\n\(errors)")
        }
        defer { try? FileManager.default.removeItem(at: files) }
        return Outcome(exit: exit, output: output, errors: errors)
    }

    /// Kills the program and waits until it has ended.
    func kill() async {
        process.signal(SIGKILL)
        _ = await process.exit()
        try? FileManager.default.removeItem(at: files)
    }

    /// Waits until the program has written `text` to standard error.
    func says(_ text: String) async throws {
        try await until("it says \(text)") { errors.contains(text) }
    }

    /// Waits until the program has written this many lines to standard output.
    func lines(_ count: Int) async throws -> [String] {
        try await eventually("\(count) lines of output") { lines.count >= count ? lines : nil }
    }
}

/// How a program ended, and what it wrote.
struct Outcome: Sendable, CustomStringConvertible {
    let exit: ChildProcess.Exit
    let output: String
    let errors: String

    /// The exit code; after a signal 128 and its number, as in a shell.
    var code: Int32 {
        switch exit {
        case .code(let code): code
        case .signal(let signal): 128 + signal
        }
    }

    var lines: [String] { output.split(separator: "\n").map(String.init) }
    var description: String { "\(exit)\n\(output.prefix(2000))\n\(errors.prefix(2000))" }

    /// The output as one JSON document.
    func json() throws -> JSONValue { try JSONValue(parsing: output) }
    /// The output as JSON documents, one a line.
    func jsonLines() throws -> [JSONValue] { try lines.map { try JSONValue(parsing: $0) } }
}
