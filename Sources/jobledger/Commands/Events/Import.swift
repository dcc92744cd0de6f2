import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres

struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a ledger from an exported log.",
        discussion: """
            The copy has the same positions, versions, ids, times and epoch: it is the same log. The ledger must be \
            empty (JOBLEDGER_SCHEMA names it, `jobledger migrate` makes it), or end within the file or right before \
            it. Events that it already has are compared with the file, byte for byte. All events pass the same checks \
            as in append. If the import is killed, run it again, and it continues where it was. Only the owner of the \
            ledger can import.

            If the copy will take appends of its own, it becomes another log: give --new-epoch with the last import.

            EXAMPLE
              JOBLEDGER_SCHEMA=copy jobledger migrate
              JOBLEDGER_SCHEMA=copy jobledger import log.ndjson
              JOBLEDGER_SCHEMA=copy jobledger import more.ndjson --new-epoch --json
            """)

    @Argument(help: "The file that `jobledger export` wrote.")
    var file: String

    @Flag(help: "Begin a new epoch after the import, because the ledger will take its own appends.")
    var newEpoch = false

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var events: Int64
        var imported: Int64
        var position: Position
        var epoch: String
        var seconds: Double
    }

    func run() async throws {
        let settings = try await options.settings()
        let (connection, second) = (
            try await settings.connect("jobledger import"), try await settings.connect("jobledger import")
        )
        let start = ContinuousClock.now
        var bar = ProgressBar("importing", unit: "events")
        let receipt = try await settings.followingLeader {
            try await LogImport(path: file).run(on: connection, second) { phase, done, total in
                if phase == .importing { bar.update(done, of: total) }
            }
        }
        bar.finish()
        let epoch: String =
            newEpoch ? try await connection.query("SELECT begin_epoch()::text").only().decode(0) : receipt.epoch
        for connection in [connection, second] { await connection.close() }
        if options.json {
            let seconds = start.duration(to: .now) / .seconds(1)
            return try Output.json(
                Answer(
                    events: receipt.events, imported: receipt.imported, position: receipt.position, epoch: epoch,
                    seconds: (seconds * 1000).rounded() / 1000))
        }
        try Output.line(
            "\(receipt.imported) events imported of the \(receipt.events) in \(file); "
                + "the log ends at position \(receipt.position)")
    }
}
