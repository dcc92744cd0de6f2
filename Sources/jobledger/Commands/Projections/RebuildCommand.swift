import ArgumentParser
import Foundation
import LedgerCore
import LedgerSettings
import Postgres
import Projections

struct RebuildCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebuild",
        abstract: "Replay the log into fresh tables and replace the old ones by them.",
        discussion: """
            Readers see the old tables until the new ones replace them in one step. The live projection goes on \
            meanwhile. If a rebuild is killed, run it again, and it continues where it was. Every rebuild of the same \
            log gives the same digest, for any window and number of workers. The old tables are kept until the next \
            rebuild: --undo puts them back, --drop-old drops them.

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
        help: "Fold at most this many events at once. Default: JOBLEDGER_WINDOW.",
        transform: NumberOption.integer("--window", WindowSize.allowed))
    var window: Int?

    @Option(
        help: "Fold with this many connections, each for a part of the jobs. A projection with key log uses one.",
        transform: NumberOption.integer("--workers", 1...64))
    var workers = 2

    @Option(
        help: "Pause while a live projection is more than this many events behind.",
        transform: NumberOption.position("--max-lag", from: 1))
    var maxLag: Int64?

    @Flag(help: "Only show what would be done, and about how long it would take.")
    var dryRun = false

    @Flag(help: "Put back the tables that the last rebuild replaced. The live projection goes on from their position.")
    var undo = false

    @Flag(help: "Drop the tables that the last rebuild replaced.")
    var dropOld = false

    @Flag(help: "Discard a rebuild that was begun and not finished.")
    var cancel = false

    @OptionGroup var asOf: AsOfOptions
    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    /// What `--json` prints of new tables, whether they replace those in use or not.
    struct Answer: Encodable {
        var projection: String
        var position: Position
        var rows: Int
        var digest: String
        var events: Int64
        var seconds: Double
    }

    func validate() throws {
        guard [dryRun, undo, dropOld, cancel, asOf.until != nil].count(where: { $0 }) <= 1 else {
            throw ValidationError("--dry-run, --undo, --drop-old, --cancel and --until exclude each other.")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        if let (until, schema) = asOf.target {
            return try await makeAsOfTables(
                projections.definition(named: projection), until: until, into: schema,
                window: window ?? settings.window, settings, json: options.json)
        }
        // These three work on old tables, whose projection may no longer have a definition.
        let definition = undo || dropOld || cancel ? nil : try projections.definition(named: projection)
        let connection = try await settings.connect("jobledger rebuild \(projection)")
        do {
            guard let definition else {
                try await ReplacedTablesActions(projection, settings.ledger, options.json).run(self, on: connection)
                return await connection.close()
            }
            if dryRun {
                try await DryRun.show(
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
        let rebuild = Rebuild(
            definition, ledger: settings.ledger, window: window ?? settings.window, workers: workers, maxLag: maxLag,
            tell: { progress.show($0) })
        let receipt = try await settings.followingLeader {
            try await rebuild.run(on: connection) { progress.update($0, of: $1) }
        }
        progress.finish()
        for index in receipt.notCarried { Output.diagnostic("not carried over: \(index)") }
        let seconds = receipt.duration / .seconds(1)
        if options.json {
            return try Output.json(
                Answer(
                    projection: receipt.projection, position: receipt.position, rows: receipt.rows,
                    digest: receipt.digest, events: receipt.events, seconds: (seconds * 1000).rounded() / 1000))
        }
        try Output.line(
            "\(receipt.projection): \(receipt.events) events into \(receipt.rows) rows in "
                + "\(String(format: "%.1f", seconds)) s, at position \(receipt.position)")
        let compared =
            receipt.liveDigest.map {
                $0 == receipt.digest ? ", equal to the old tables" : "; the old tables had \($0)"
            }
        try Output.line("digest \(receipt.digest)\(compared ?? "")")
        try Output.line("readers waited \(String(format: "%.1f", receipt.blocked / .milliseconds(1))) ms for the swap")
    }
}
