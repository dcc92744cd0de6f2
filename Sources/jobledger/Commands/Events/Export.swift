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
            The format is NDJSON. The first line names the log and the range of positions. Then comes one line an \
            event, and a last line with their number and the SHA-256 of everything before it. Data and metadata are \
            JSON strings, so every byte that was sent is kept. The same range of the same log always gives the same \
            file. `jobledger import` makes a ledger from it.

            EXAMPLE
              jobledger export --out log.ndjson
              jobledger export --from 120001 --out more.ndjson
              jobledger export --from 2026-11-23T00:00:00Z | gzip > recent.ndjson.gz
            """)

    @Option(
        help: ArgumentHelp(
            "The first position, or a time: starts with the first event recorded then or later.",
            valueName: "position|time"),
        transform: LogMoment.option("--from"))
    var from: LogMoment?

    @Option(
        help: ArgumentHelp(
            "The last position, or a time: ends with the last event recorded by then.", valueName: "position|time"),
        transform: LogMoment.option("--to"))
    var to: LogMoment?

    @Option(
        help: ArgumentHelp(
            "Write to this file and not to standard output. The file appears only when it is complete.",
            valueName: "file"))
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

    private static let noPlaceForTheAnswer = ValidationError(
        "--json needs --out: the log itself goes to standard output.")

    func run() async throws {
        let settings = try await options.settings()
        let file = try OutputFile(out)
        if options.json, file.isStandardOutput { throw Self.noPlaceForTheAnswer }
        let store = try settings.store()
        let last = if let to { try await store.position(of: to) } else { try await store.head() }
        let first = if let from { try await store.firstPosition(from: from) } else { Position(1) }
        guard first <= last + 1 else {
            throw ValidationError("--from is position \(first), which is after --to, position \(last).")
        }
        let connection = try await settings.connect("jobledger export")
        var bar = ProgressBar("exporting", unit: "events")
        let footer = try await settings.followingLeader {
            try await LogExport(settings.ledger).run(from: first, to: last, on: connection) {
                if out != nil { bar.update($0, of: last - first + 1) }
            } _: {
                try file.write($0)
            }
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

/// The destination of the export: standard output, or a file that gets its name when it is
/// complete.
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

    /// Also true if the path is another name of standard output, such as `/dev/stdout`.
    var isStandardOutput: Bool { file?.isStandardOutput ?? true }

    func finish() throws { try file?.finish() }
}
