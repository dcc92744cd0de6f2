import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres
import PrivateFiles

struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the log to a file.",
        discussion: """
            NDJSON: a line that says which log it is and from where to where, a line an event, and a line with their number and the \
            SHA-256 of all before it. Data and metadata are JSON strings, so that every byte that was sent comes back. The same \
            stretch of the same log always gives the same file. `jobledger import` makes a ledger of it.

            EXAMPLE
              jobledger export --out log.ndjson
              jobledger export --from 120001 --out more.ndjson
              jobledger export --from 2026-11-23T00:00:00Z --to 2026-11-24T00:00:00Z | gzip > day.ndjson.gz
            """)

    @Option(
        help: ArgumentHelp("The first position, or a time: the first event recorded then or later.", valueName: "position|time"),
        transform: Moment.option("--from"))
    var from: Moment?

    @Option(
        help: ArgumentHelp("The last position, or a time: the last event recorded by then.", valueName: "position|time"),
        transform: Moment.option("--to"))
    var to: Moment?

    @Option(
        help: ArgumentHelp(
            "Where to; standard output unless given. It is there when it is whole, and not before.", valueName: "file"))
    var out: String?

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var from: Position
        var to: Position
        var count: Int64
        var sha256: String
        var out: String
    }

    func validate() throws {
        if options.json, out == nil { throw Self.noPlaceForTheAnswer }
    }

    private static let noPlaceForTheAnswer = ValidationError("--json needs --out: the log itself goes to standard output.")

    func run() async throws {
        let settings = try await options.settings()
        let file = try OutputFile(out)
        if options.json, file.isStandardOutput { throw Self.noPlaceForTheAnswer }
        let store = try settings.store()
        let last = if let to { try await store.position(of: to) } else { try await store.head() }
        let first = if let from { try await store.firstPosition(from: from) } else { Position(1) }
        guard first <= last + 1 else {
            throw ValidationError("--from is position \(first), which is behind --to, position \(last).")
        }
        let connection = try await settings.connect("jobledger export")
        var bar = ProgressBar("exporting", unit: "events")
        let footer = try await LogExport(settings.ledger).run(from: first, to: last, on: connection) {
            if out != nil { bar.update($0, of: last - first + 1) }
        } _: {
            try file.write($0)
        }
        bar.finish()
        try file.finish()
        await connection.close()
        guard let out, !file.isStandardOutput else { return }
        if options.json {
            return try Output.json(Answer(from: first, to: last, count: footer.count, sha256: footer.sha256, out: out))
        }
        try Output.line("\(footer.count) events, positions \(first) to \(last), into \(out)\nsha256 \(footer.sha256)")
    }
}

struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a ledger of an exported log.",
        discussion: """
            The same positions, versions, ids and times, and the same epoch: a copy is the same log. Into an empty ledger (JOBLEDGER_SCHEMA names it, \
            `jobledger migrate` makes it), or one that ends within the file or right before it; what it has already is compared, byte for byte. \
            Everything is checked that appending checks. It may be killed: run again, it goes on where it was. Only the owner of the ledger can import.

            A copy that will take appends of its own is another log from then on: give it --new-epoch with its last import.

            EXAMPLE
              JOBLEDGER_SCHEMA=copy jobledger migrate
              JOBLEDGER_SCHEMA=copy jobledger import log.ndjson
              JOBLEDGER_SCHEMA=copy jobledger import more.ndjson --new-epoch --json
            """)

    @Argument(help: "What `jobledger export` wrote.")
    var file: String

    @Flag(help: "Begin another epoch afterwards: the ledger goes its own way from here on.")
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
        let receipt = try await LogImport(path: file).run(on: connection, second) { phase, done, total in
            if phase == .importing { bar.update(done, of: total) }
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
            "\(receipt.imported) events imported of the \(receipt.events) in \(file); the log ends at position \(receipt.position)"
        )
    }
}

/// Where a long output goes: standard output, or a file that takes its name when it is whole.
private struct OutputFile {
    private let file: WrittenFile?

    init(_ path: String?) throws {
        do {
            file = try path.map { path throws(FileFailure) in try WrittenFile(path, mode: 0o600) }
        } catch {
            throw ValidationError("--out: \(error).")
        }
    }

    func write(_ bytes: [UInt8]) throws {
        if let file { try file.write(bytes) } else { try Output.write(bytes) }
    }

    /// By whatever name.
    var isStandardOutput: Bool { file?.isStandardOutput ?? true }

    func finish() throws { try file?.finish() }
}
