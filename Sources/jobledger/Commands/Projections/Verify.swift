import ArgumentParser
import Foundation
import LedgerCore
import LedgerSettings
import Postgres
import Projections

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Refold a projection and compare it with the tables in use.",
        discussion: """
            Changes nothing and blocks nobody. Exit code 1 if the tables differ. Skipped events are listed, with who \
            skipped them, when and why, and each is tried again. One that cannot be folded may be missing from the \
            tables; one that can be folded is a difference. After any change of the definition, even of a comment, \
            skipped events are tried again, and rebuild makes tables with them.

            EXAMPLE
              jobledger verify batch_jobs
              jobledger verify batch_job_runs --json
            """)

    @Argument(help: "The projection's name.")
    var projection: String

    @Option(
        help: "Fold at most this many events at once. Default: JOBLEDGER_WINDOW.",
        transform: NumberOption.integer("--window", WindowSize.allowed))
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
                "skipped: position \(position), event \(event), by \(role) (\(skippedBy)) at \(skippedAt): \(reason); "
                    + (canBeFolded ? "IT CAN BE FOLDED" : "it cannot be folded: \(error)"))
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        let definition = try projections.definition(named: projection)
        let connection = try await settings.connect("jobledger verify \(projection)")
        let progress = ReplayProgress(projection, "refolding")
        let finding = try await settings.followingLeader {
            try await Verification(definition, ledger: settings.ledger, window: window ?? settings.window)
                .run(on: connection) { progress.update($0, of: $1) }
        }
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
            try Self.print(finding)
        }
        if !finding.isEqual { throw Failure.refused }
    }

    // MARK: For people

    private static func print(_ finding: Verification.Finding) throws {
        try Output.line("\(finding.projection) \(verdict(finding)) at position \(finding.position)")
        try Output.line("live    \(finding.liveDigest)\nrebuilt \(finding.rebuiltDigest)")
        for (row, explanation) in zip(finding.differences, finding.explanations) {
            let what =
                row.live == nil
                ? "missing" : row.expected == nil ? "not in the refold" : row.columns.joined(separator: ", ")
            try Output.line("\(row.table) \(row.key): \(what)")
            for line in lines(explanation) { try Output.line("    \(line)") }
        }
        for skipped in finding.skipped { try Output.line(Skip(skipped).line) }
        for table in finding.tablesWithPolicies {
            try Output.line("\(table) has row policies: readers may see less of it than was compared")
        }
    }

    private static func verdict(_ finding: Verification.Finding) -> String {
        let count = finding.skipped.count
        let without = count == 0 ? "" : ", without \(count) skipped \(count == 1 ? "event" : "events"),"
        if finding.liveDigest != finding.rebuiltDigest { return "DIFFERS from its refold\(without)" }
        return finding.isEqual
            ? "equals its refold\(without)"
            : "LACKS skipped events that can be folded; otherwise it equals its refold"
    }

    private static func lines(_ explanation: Explanation) -> [String] {
        func name(_ event: Explanation.Event) -> String { "\(event.type) at position \(event.position)" }
        let columns = explanation.columns.map { column in
            let values = "\(column.name): live \(column.live ?? "–"), rebuilt \(column.rebuilt ?? "–")"
            guard explanation.unexplained == nil else { return values }
            let rebuilt = column.rebuiltBy.map { "\(column.rebuilt ?? "") since \(name($0)), event \($0.id.text)" }
            let live = column.live.map { value in
                column.liveBy.map { "it was \(value) since \(name($0))" } ?? "no event gives \(value)"
            }
            return ([values] + [rebuilt, live].compactMap(\.self)).joined(separator: "; ")
        }
        return columns + (explanation.unexplained.map { ["not explained: \($0)"] } ?? [])
    }

    // MARK: JSON

    /// The differences as JSON. Keys and rows are JSON text from the database and are copied
    /// unchanged, because a Swift number may not hold all their digits.
    private static func json(_ finding: Verification.Finding) throws -> String {
        let rows = try zip(finding.differences, finding.explanations).map { row, explanation in
            #"{"table":"\#(row.table)","key":\#(row.key),"live":\#(row.live ?? "null"),"#
                + #""rebuilt":\#(row.expected ?? "null"),"columns":\#(try text(row.columns)),"#
                + #""explained":\#(try json(explanation)),"unexplained":\#(try text(explanation.unexplained))}"#
        }
        return "[\(rows.joined(separator: ","))]"
    }

    private static func json(_ explanation: Explanation) throws -> String {
        func json(_ event: Explanation.Event?) -> String {
            event.map { #"{"position":\#($0.position),"event_id":"\#($0.id.text)","type":"\#($0.type)"}"# } ?? "null"
        }
        let columns = try explanation.columns.map { column in
            #"{"column":\#(try text(column.name)),"live":\#(column.live ?? "null"),"#
                + #""rebuilt":\#(column.rebuilt ?? "null"),"rebuilt_by":\#(json(column.rebuiltBy)),"#
                + #""live_by":\#(json(column.liveBy))}"#
        }
        return "[\(columns.joined(separator: ","))]"
    }

    private static func text(_ value: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }
}
