import EventStore
import Foundation
import LedgerTesting
import Testing

/// A ledger is a schema of any name, so no SQL in migrations or code may name one.
@Suite struct NoSchemaNamedTests {
    /// Where the package is, also where a scratch copy of it has links to its folders.
    /// Custom settings need a prefix. They are no schema: see docs/scaling.md.
    private static let settings = [
        "appending", "window_after", "window_upto", "window_types", "window_kinds", "stream", "timeline", "confirms",
    ]

    /// Whether a line of SQL or Swift names the standard ledger as a schema: `jobledger.events`,
    /// `"jobledger".events`, `SCHEMA jobledger`, `search_path = jobledger`, or roles and channels
    /// that begin with its name.
    private static func finds(in line: String) throws -> Bool {
        for match in line.matches(of: try Regex(#"(^|[^./\w])"?jobledger"?\."?(\w+)"#)) {
            // `.jobledger/env` and `io.jobledger.job` have a dot before them, so they do not match.
            let member = String(match.output[2].substring ?? "")
            if !settings.contains(member) { return true }
        }
        return try line.contains(Regex(#"(?i)\bschema\s+(if\s+(not\s+)?exists\s+)?\W{0,2}jobledger\b"#))
            || line.contains(Regex(#"search_path\W+jobledger\b"#))
            || line.contains(Regex(#"jobledger_(appender|reader)"#))
            || line.contains(Regex(#"jobledger:(job|head)"#))
    }

    @Test(arguments: [
        "SELECT * FROM jobledger.events", #"FROM "jobledger"."events""#, "CREATE SCHEMA IF NOT EXISTS jobledger",
        #"DROP SCHEMA "jobledger""#, "SET search_path = jobledger", "TO jobledger_reader", "PUBLISH jobledger:head",
    ])
    func isFound(_ line: String) throws { #expect(try Self.finds(in: line)) }

    @Test(arguments: [
        "current_setting('jobledger.window_after')", #""io.jobledger.job.""#, #"".jobledger/env""#,
        #""jobledger migrate \(ledger)""#,
    ])
    func isNotFound(_ line: String) throws { #expect(try Self.finds(in: line) == false) }

    @Test(arguments: ["migrations", "projections", "Sources", "bench/LedgerBench"])
    func nowhere(_ folder: String) throws {
        let files = try #require(
            FileManager.default.enumerator(at: Repository.root.appending(path: folder), includingPropertiesForKeys: nil)
        )
        .compactMap { $0 as? URL }.filter { ["sql", "swift", "json"].contains($0.pathExtension) }
        #expect(!files.isEmpty)
        for file in files {
            let lines = try String(contentsOf: file, encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            for (number, line) in lines.enumerated() where try Self.finds(in: String(line)) && !Self.isProse(line) {
                Issue.record("\(file.path):\(number + 1) names a ledger: \(line)")
            }
        }
    }

    /// Comments may name it, and so may an example of a command in its help.
    private static func isProse(_ line: Substring) -> Bool {
        let text = line.drop { $0 == " " }
        return text.hasPrefix("--") || text.hasPrefix("//") || text.contains("dbmate --url")
    }
}
