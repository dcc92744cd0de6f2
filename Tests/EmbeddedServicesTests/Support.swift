import Foundation
import Testing

@testable import EmbeddedServices

/// Runs `body` with a Postgres that is stopped afterwards, also after an error.
func withPostgres(_ directory: URL, _ body: (PrivatePostgres) async throws -> Void = { _ in }) async throws {
    let server = try await PrivatePostgres.start(directory: directory, settings: ["fsync": "off"])
    do {
        try await body(server)
    } catch {
        try await server.stop()
        throw error
    }
    try await server.stop()
}

/// The output of psql for `statement`.
func psql(_ url: String, _ statement: String) async throws -> String {
    let output = FileManager.default.temporaryDirectory.appending(path: "psql-\(UUID())")
    defer { try? FileManager.default.removeItem(at: output) }
    let program = try Programs.find("psql", package: "postgresql-client")
    let exit = try await ChildProcess.run(
        [program, "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-qAt", "-c", statement, url],
        environment: ["PATH": Programs.path], log: output.path)
    let text = try String(contentsOf: output, encoding: .utf8)
    #expect(exit == .code(0), "\(text)")
    return text.trimmingCharacters(in: .whitespacesAndNewlines)
}

/// Checks the output of psql for `statement`. This is a function because the compiler ignores a
/// `try` within a macro when it decides whether a closure throws.
func expect(
    _ url: String, _ statement: String, gives expected: String, at place: SourceLocation = #_sourceLocation
) async throws {
    let text = try await psql(url, statement)
    #expect(text == expected, sourceLocation: place)
}
