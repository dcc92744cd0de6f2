import ArgumentParser
import Foundation
import LedgerCore
import LedgerSettings
import Postgres
import Projections

struct RebuildCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebuild",
        abstract: "Replay the log into fresh tables and put them in the place of the old ones.",
        discussion: """
            Readers see the old tables until the moment they see the new ones; a rebuild that is killed leaves nothing behind. The digest \
            is the same for every rebuild of the same log, whatever the window.

            EXAMPLE
              jobledger rebuild batch_jobs
              jobledger rebuild batch_job_runs --window 1000 --json
              jobledger rebuild batch_jobs --until 2026-11-23T20:45:00Z --into last_monday
            """)

    @Argument(help: "The projection's name.")
    var projection: String

    @Option(help: "The most events that are folded at once; JOBLEDGER_WINDOW unless given.")
    var window: Int?

    @OptionGroup var past: PastOptions
    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var projection: String
        var position: Position
        var rows: Int
        var digest: String
        var events: Int64
        var seconds: Double
    }

    func validate() throws { try validateWindow(window) }

    func run() async throws {
        let settings = try await options.settings()
        let definition = try projections.definition(named: projection)
        if let (until, schema) = past.wanted {
            return try await makePast(
                definition, until: until, into: schema, window: window ?? settings.window, settings, json: options.json)
        }
        let connection = try await settings.connect("jobledger rebuild \(projection)")
        var bar = ProgressBar("replaying", unit: "events")
        let receipt = try await Rebuild(definition, ledger: settings.ledger, window: window ?? settings.window)
            .run(on: connection) { bar.update($0, of: $1) }
        bar.finish()
        await connection.close()
        let seconds = receipt.duration / .seconds(1)
        if options.json {
            return try Output.json(
                Answer(
                    projection: receipt.projection, position: receipt.position, rows: receipt.rows, digest: receipt.digest,
                    events: receipt.events, seconds: (seconds * 1000).rounded() / 1000))
        }
        try Output.line(
            "\(receipt.projection): \(receipt.events) events into \(receipt.rows) rows in \(String(format: "%.1f", seconds)) s, at position \(receipt.position)"
        )
        try Output.line("digest \(receipt.digest)")
    }
}

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Refold a projection and compare it with the tables in use.",
        discussion: """
            Changes nothing and holds nobody up. Exit code 1 when they differ.

            EXAMPLE
              jobledger verify batch_jobs
              jobledger verify batch_job_runs --json
            """)

    @Argument(help: "The projection's name.")
    var projection: String

    @Option(help: "The most events that are folded at once; JOBLEDGER_WINDOW unless given.")
    var window: Int?

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var projection: String
        var position: Position
        var equal: Bool
        var liveDigest: String
        var rebuiltDigest: String
    }

    func validate() throws { try validateWindow(window) }

    func run() async throws {
        let settings = try await options.settings()
        let definition = try projections.definition(named: projection)
        let connection = try await settings.connect("jobledger verify \(projection)")
        var bar = ProgressBar("refolding", unit: "events")
        let finding = try await Verification(definition, ledger: settings.ledger, window: window ?? settings.window)
            .run(on: connection) { bar.update($0, of: $1) }
        bar.finish()
        await connection.close()
        if options.json {
            try Output.json(
                Answer(
                    projection: finding.projection, position: finding.position, equal: finding.isEqual,
                    liveDigest: finding.liveDigest, rebuiltDigest: finding.rebuiltDigest),
                adding: "differences", as: Self.json(finding.differences))
        } else {
            try Output.line(
                "\(finding.projection) \(finding.isEqual ? "equals" : "DIFFERS from") its refold at position \(finding.position)")
            try Output.line("live    \(finding.liveDigest)\nrebuilt \(finding.rebuiltDigest)")
            for row in finding.differences {
                let what =
                    row.live == nil ? "missing" : row.expected == nil ? "not in the refold" : row.columns.joined(separator: ", ")
                try Output.line("\(row.table) \(row.key): \(what)")
            }
        }
        if !finding.isEqual { throw Failure.refused }
    }

    /// Rows come as JSON, with numbers that no type of ours may be able to hold: they go out as they came.
    private static func json(_ differences: [RowDifference]) throws -> String {
        let rows = try differences.map { row in
            let columns = String(decoding: try JSONEncoder().encode(row.columns), as: UTF8.self)
            return
                #"{"table":"\#(row.table)","key":\#(row.key),"live":\#(row.live ?? "null"),"rebuilt":\#(row.expected ?? "null"),"columns":\#(columns)}"#
        }
        return "[\(rows.joined(separator: ","))]"
    }
}

private func validateWindow(_ window: Int?) throws {
    if let window, !(1...1_000_000).contains(window) {
        throw ValidationError("--window must be from 1 to 1000000, not \(window).")
    }
}
