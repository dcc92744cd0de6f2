import ArgumentParser
import Foundation
import LedgerCore
import LedgerServer
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

    func run() async throws {
        let settings = try await options.settings()
        let connection = try await settings.connect("jobledger receipts")
        let receipts = try await RecordedReceipt.last(limit, of: projection, on: connection)
        await connection.close()
        for receipt in receipts {
            if options.json { try Output.json(ReceiptReport(receipt)) } else { try Output.line(text(receipt)) }
        }
        if receipts.isEmpty, !options.json { Output.diagnostic("there are no receipts") }
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
