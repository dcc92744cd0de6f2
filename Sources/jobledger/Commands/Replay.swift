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

    func validate() throws {
        guard [dryRun, undo, dropOld, cancel, past.until != nil].count(where: { $0 }) <= 1 else {
            throw ValidationError("--dry-run, --undo, --drop-old, --cancel and --until exclude each other.")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        if let (until, schema) = past.wanted {
            return try await makePast(
                projections.definition(named: projection), until: until, into: schema, window: window ?? settings.window,
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
                    projection: receipt.projection, position: receipt.position, rows: receipt.rows, digest: receipt.digest,
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

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Refold a projection and compare it with the tables in use.",
        discussion: """
            Changes nothing and holds nobody up. Exit code 1 when they differ, or lack an event that was skipped and can be folded: each \
            event that was skipped is tried. What was skipped is listed, with who did it, when and why; where it cannot be folded, the tables \
            are equal without it. A changed definition, if only by a comment, is asked anew: rebuild makes tables with those events again.

            EXAMPLE
              jobledger verify batch_jobs
              jobledger verify batch_job_runs --json
            """)

    @Argument(help: "The projection's name.")
    var projection: String

    @Option(
        help: "The most events that are folded at once; JOBLEDGER_WINDOW unless given.",
        transform: NumberOption.integer("--window", 1...1_000_000))
    var window: Int?

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var projection: String
        var position: Position
        var equal: Bool
        var liveDigest: String
        var rebuiltDigest: String
        var skipped: [Skip]
        var tablesWithPolicies: [String]
    }

    private struct Skip: Encodable {
        var position: Position
        var event: String
        var reason: String
        var error: String
        var role: String
        var skippedBy: String
        var skippedAt: String
        var canBeFolded: Bool

        init(_ skipped: Verification.Skipped) {
            let record = skipped.record
            (position, event, reason, error) = (record.position, record.event.text, record.reason, record.error)
            (role, skippedBy, skippedAt) = (record.role, record.skippedBy, record.skippedAt)
            canBeFolded = skipped.canBeFolded
        }

        var line: String {
            Output.printable(
                "left out position \(position), event \(event), by \(role) (\(skippedBy)) at \(skippedAt): \(reason); "
                    + (canBeFolded ? "IT CAN BE FOLDED" : "it cannot be folded: \(error)"))
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        let definition = try projections.definition(named: projection)
        let connection = try await settings.connect("jobledger verify \(projection)")
        let progress = ReplayProgress(projection, "refolding")
        let finding = try await Verification(definition, ledger: settings.ledger, window: window ?? settings.window)
            .run(on: connection) { progress.update($0, of: $1) }
        progress.finish()
        await connection.close()
        if options.json {
            try Output.json(
                Answer(
                    projection: finding.projection, position: finding.position, equal: finding.isEqual,
                    liveDigest: finding.liveDigest, rebuiltDigest: finding.rebuiltDigest,
                    skipped: finding.skipped.map(Skip.init), tablesWithPolicies: finding.tablesWithPolicies),
                adding: "differences", as: Self.json(finding))
        } else {
            try Output.line("\(finding.projection) \(Self.verdict(finding)) at position \(finding.position)")
            try Output.line("live    \(finding.liveDigest)\nrebuilt \(finding.rebuiltDigest)")
            for (row, explanation) in zip(finding.differences, finding.explanations) {
                let what =
                    row.live == nil ? "missing" : row.expected == nil ? "not in the refold" : row.columns.joined(separator: ", ")
                try Output.line("\(row.table) \(row.key): \(what)")
                for line in Self.lines(explanation) { try Output.line("    \(line)") }
            }
            for skipped in finding.skipped { try Output.line(Skip(skipped).line) }
            for table in finding.tablesWithPolicies {
                try Output.line("\(table) has row policies: readers may see less of it than was compared")
            }
        }
        if !finding.isEqual { throw Failure.refused }
    }

    private static func verdict(_ finding: Verification.Finding) -> String {
        let count = finding.skipped.count
        let leaving = count == 0 ? "" : ", leaving out \(count) \(count == 1 ? "event" : "events"),"
        if finding.liveDigest != finding.rebuiltDigest { return "DIFFERS from its refold\(leaving)" }
        return finding.isEqual
            ? "equals its refold\(leaving)"
            : "LACKS events that were skipped and can be folded:"
                + " otherwise it equals its refold"
    }

    private static func lines(_ explanation: Explanation) -> [String] {
        func name(_ event: Explanation.Event) -> String { "\(event.type) at position \(event.position)" }
        let columns = explanation.columns.map { column in
            let values = "\(column.name): live \(column.live ?? "–"), rebuilt \(column.rebuilt ?? "–")"
            guard explanation.unexplained == nil else { return values }
            let rebuilt = column.rebuiltBy.map { "\(column.rebuilt ?? "") since \(name($0)), event \($0.id.text)" }
            let live = column.live == nil ? nil : column.liveBy.map { "it was \(column.live ?? "") since \(name($0))" }
            return
                ([values]
                + [rebuilt, live ?? (column.live == nil ? nil : "no event gives \(column.live ?? "")")].compactMap { $0 })
                .joined(separator: "; ")
        }
        return columns + (explanation.unexplained.map { ["not explained: \($0)"] } ?? [])
    }

    /// Rows come as JSON, with numbers that no type of ours may be able to hold: they go out as they came.
    private static func json(_ finding: Verification.Finding) throws -> String {
        let rows = try zip(finding.differences, finding.explanations).map { row, explanation in
            let columns = try text(row.columns)
            return
                #"{"table":"\#(row.table)","key":\#(row.key),"live":\#(row.live ?? "null"),"rebuilt":\#(row.expected ?? "null"),"columns":\#(columns),"explained":\#(try json(explanation)),"unexplained":\#(try text(explanation.unexplained))}"#
        }
        return "[\(rows.joined(separator: ","))]"
    }

    private static func json(_ explanation: Explanation) throws -> String {
        func json(_ event: Explanation.Event?) -> String {
            event.map { #"{"position":\#($0.position),"event_id":"\#($0.id.text)","type":"\#($0.type)"}"# } ?? "null"
        }
        let columns = try explanation.columns.map { column in
            #"{"column":\#(try text(column.name)),"live":\#(column.live ?? "null"),"rebuilt":\#(column.rebuilt ?? "null"),"rebuilt_by":\#(json(column.rebuiltBy)),"live_by":\#(json(column.liveBy))}"#
        }
        return "[\(columns.joined(separator: ","))]"
    }

    private static func text(_ value: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }
}
