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
            Readers see the old tables until the moment they see the new ones, and the live projection goes on. A rebuild that is killed goes on \
            where it was when it is run again. The digest is the same for every rebuild of the same log, whatever the window and the \
            workers. The old tables are kept until the next rebuild: --undo puts them back, --drop-old drops them.

            EXAMPLE
              jobledger rebuild batch_jobs --dry-run
              jobledger rebuild batch_jobs --workers 2 --max-lag 5000
              jobledger rebuild batch_jobs --undo
              jobledger rebuild batch_job_runs --window 1000 --json
              jobledger rebuild batch_jobs --until 2026-11-23T20:45:00Z --into last_monday
            """)

    @Argument(help: "The projection's name.")
    var projection: String

    @Option(
        help: "The most events that are folded at once; JOBLEDGER_WINDOW unless given.",
        transform: NumberOption.integer("--window", 1...1_000_000))
    var window: Int?

    @Option(
        help: "How many connections fold at once, each a part of the jobs; of a projection whose key is the log, one.",
        transform: NumberOption.integer("--workers", 1...64))
    var workers = 2

    @Option(
        help: "Stand still while a live projection is more than so many events behind.",
        transform: NumberOption.position("--max-lag", from: 1))
    var maxLag: Int64?

    @Flag(help: "Only say what there is to do, and about how long it takes.")
    var dryRun = false

    @Flag(help: "Put the tables back that the last rebuild replaced; the live projection goes on from where they were.")
    var undo = false

    @Flag(help: "Drop the tables that the last rebuild replaced.")
    var dropOld = false

    @Flag(help: "Give up a rebuild that was begun and not finished.")
    var cancel = false

    @OptionGroup var past: AsOfOptions
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

    func validate() throws {
        guard [dryRun, undo, dropOld, cancel, past.until != nil].count(where: { $0 }) <= 1 else {
            throw ValidationError("--dry-run, --undo, --drop-old, --cancel and --until exclude each other.")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        if let (until, schema) = past.wanted {
            return try await makeAsOfTables(
                projections.definition(named: projection), until: until, into: schema,
                window: window ?? settings.window,
                settings,
                json: options.json)
        }
        // Whose old tables are meant may be defined no longer.
        let definition = undo || dropOld || cancel ? nil : try projections.definition(named: projection)
        let connection = try await settings.connect("jobledger rebuild \(projection)")
        do {
            guard let definition else {
                try await RebuildAftermath(projection, settings.ledger, options.json).run(self, on: connection)
                return await connection.close()
            }
            if dryRun {
                try await RebuildAnswers.plan(
                    .make(definition, ledger: settings.ledger, workers: workers, on: connection), json: options.json)
            } else {
                try await rebuild(definition, settings, on: connection)
            }
        } catch {
            await connection.close()
            throw error
        }
        await connection.close()
    }

    private func rebuild(
        _ definition: ProjectionDefinition, _ settings: LedgerSettings, on connection: PostgresConnection
    ) async throws {
        let progress = ReplayProgress(projection, "replaying")
        let receipt = try await Rebuild(
            definition, ledger: settings.ledger, window: window ?? settings.window, workers: workers, maxLag: maxLag,
            tell: { progress.tell($0) }
        ).run(on: connection) { progress.update($0, of: $1) }
        progress.finish()
        for index in receipt.notCarried { Output.diagnostic("not carried over: \(index)") }
        let seconds = receipt.duration / .seconds(1)
        if options.json {
            return try Output.json(
                Answer(
                    projection: receipt.projection, position: receipt.position, rows: receipt.rows,
                    digest: receipt.digest,
                    events: receipt.events, seconds: (seconds * 1000).rounded() / 1000))
        }
        try Output.line(
            "\(receipt.projection): \(receipt.events) events into \(receipt.rows) rows in \(String(format: "%.1f", seconds)) s, at position \(receipt.position)"
        )
        let compared =
            receipt.liveDigest.map {
                $0 == receipt.digest ? ", that of the tables in use" : "; that of the tables in use was \($0)"
            }
        try Output.line("digest \(receipt.digest)\(compared ?? "")")
        try Output.line("readers waited \(String(format: "%.1f", receipt.blocked / .milliseconds(1))) ms for the swap")
    }
}
