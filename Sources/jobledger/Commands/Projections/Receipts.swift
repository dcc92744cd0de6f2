import ArgumentParser
import Foundation
import LedgerCore
import Postgres
import Projections

struct Receipts: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the receipts of rebuilds and verifications.",
        discussion: """
            The newest come first. Nobody can change or remove a receipt. Two machines that replay the same log get \
            the same digest.

            EXAMPLE
              jobledger receipts
              jobledger receipts batch_jobs --limit 5 --json
            """)

    @Argument(help: "Only receipts of this projection.")
    var projection: String?

    @Option(help: "List at most this many.", transform: NumberOption.integer("--limit", 1...100_000))
    var limit = 50

    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var number: Int64
        var kind: String
        var projection: String
        var definition: String
        var position: Position
        var rows: Int64?
        var digest: String?
        var liveDigest: String?
        var equal: Bool?
        var events: Int64?
        var seconds: Double?
        var workers: Int?
        var window: Int64?
        var blockedMs: Double?
        var leftOut: Int64?
        var madeAt: String
        var madeBy: String
        var role: String
    }

    func run() async throws {
        let settings = try await options.settings()
        let connection = try await settings.connect("jobledger receipts")
        let receipts = try await RecordedReceipt.last(limit, of: projection, on: connection)
        await connection.close()
        for receipt in receipts {
            if options.json { try Output.json(line(receipt)) } else { try Output.line(text(receipt)) }
        }
        if receipts.isEmpty, !options.json { Output.diagnostic("there are no receipts") }
    }

    private func line(_ receipt: RecordedReceipt) -> Line {
        // Rounded to thousandths. A number so large that it has none is shown unchanged.
        func short(_ number: Double?) -> Double? { number.map { abs($0) < 1e12 ? ($0 * 1000).rounded() / 1000 : $0 } }
        return Line(
            number: receipt.number, kind: receipt.kind, projection: receipt.projection, definition: receipt.definition,
            position: receipt.position, rows: receipt.rows, digest: receipt.digest, liveDigest: receipt.liveDigest,
            equal: receipt.isEqual, events: receipt.events, seconds: short(receipt.seconds), workers: receipt.workers,
            window: receipt.window, blockedMs: short(receipt.blockedMilliseconds), leftOut: receipt.leftOut,
            madeAt: receipt.madeAt, madeBy: receipt.madeBy, role: receipt.role)
    }

    private func text(_ receipt: RecordedReceipt) -> String {
        var text =
            "\(receipt.number)  \(receipt.madeAt.prefix(19))Z  \(receipt.kind) \(receipt.projection) "
            + "at \(receipt.position), by \(receipt.role) (\(receipt.madeBy))"
        if let rows = receipt.rows, let digest = receipt.digest, let events = receipt.events,
            let seconds = receipt.seconds
        {
            text +=
                "\n   \(events) events into \(rows) rows in \(String(format: "%.1f", seconds)) s\n   digest \(digest)"
            text +=
                receipt.isEqual.map {
                    $0 ? ", equal to the tables in use" : "\n   DIFFERS from \(receipt.liveDigest ?? "")"
                }
                ?? ""
        }
        if let count = receipt.leftOut, count > 0 {
            text += "\n   without \(count) skipped \(count == 1 ? "event" : "events")"
        }
        return text + "\n   definition \(receipt.definition)"
    }
}

extension RecordedReceipt {
    /// Whether the tables in use had the rebuilt rows; `nil` if they were not compared.
    fileprivate var isEqual: Bool? { liveDigest.map { $0 == digest } }
}
