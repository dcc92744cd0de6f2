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
        var rows: Int
        var digest: String
        var events: Int64
        var seconds: Double
    }

    func validate() throws { try validateWindow(window) }

    func run() async throws {
        let settings = try await options.settings()
        let definition = try projections.definition(named: projection)
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
            "\(receipt.projection): \(receipt.events) events into \(receipt.rows) rows in \(String(format: "%.1f", seconds)) s, at position \(receipt.position)")
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
        struct Row: Encodable {
            var table: String
            var key: RawJSON
            var live: RawJSON?
            var rebuilt: RawJSON?
            var columns: [String]
        }
        var projection: String
        var position: Position
        var equal: Bool
        var liveDigest: String
        var rebuiltDigest: String
        var differences: [Row]
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
                    liveDigest: finding.liveDigest, rebuiltDigest: finding.rebuiltDigest,
                    differences: try finding.differences.map { row in
                        Answer.Row(
                            table: row.table, key: try RawJSON(row.key), live: try row.live.map(RawJSON.init),
                            rebuilt: try row.expected.map(RawJSON.init), columns: row.columns)
                    }))
        } else {
            try Output.line(
                "\(finding.projection) \(finding.isEqual ? "equals" : "DIFFERS from") its refold at position \(finding.position)")
            try Output.line("live    \(finding.liveDigest)\nrebuilt \(finding.rebuiltDigest)")
            for row in finding.differences {
                let what = row.live == nil ? "missing" : row.expected == nil ? "not in the refold" : row.columns.joined(separator: ", ")
                try Output.line("\(row.table) \(row.key): \(what)")
            }
        }
        if !finding.isEqual { throw Failure.refused }
    }
}

private func validateWindow(_ window: Int?) throws {
    if let window, !(1...1_000_000).contains(window) { throw ValidationError("--window must be from 1 to 1000000, not \(window).") }
}

/// JSON that came as text, inside JSON that we encode.
enum RawJSON: Encodable {
    case object([String: RawJSON])
    case array([RawJSON])
    case string(String)
    case number(Decimal)
    case bool(Bool)
    case null

    init(_ text: String) throws {
        self = try RawJSON(JSONDecoder().decode(AnyJSON.self, from: Data(text.utf8)))
    }

    private init(_ value: AnyJSON) { self = value.value }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .object(let members): try container.encode(members)
        case .array(let elements): try container.encode(elements)
        case .string(let text): try container.encode(text)
        case .number(let number): try container.encode(number)
        case .bool(let value): try container.encode(value)
        case .null: try container.encodeNil()
        }
    }
}

private struct AnyJSON: Decodable {
    let value: RawJSON

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            value = .null
        } else if let bool = try? container.decode(Bool.self) {
            value = .bool(bool)
        } else if let number = try? container.decode(Decimal.self) {
            value = .number(number)
        } else if let text = try? container.decode(String.self) {
            value = .string(text)
        } else if let elements = try? container.decode([AnyJSON].self) {
            value = .array(elements.map(\.value))
        } else {
            value = .object(try container.decode([String: AnyJSON].self).mapValues(\.value))
        }
    }
}
