import ArgumentParser
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import Projections

struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a job or another stream, now or as it was.",
        discussion: """
            Shows the row of the stream in the read model of its category: batch_jobs for jobs. With --at, shows it \
            as it was at that position or time.

            EXAMPLE
              jobledger show backtest-7
              jobledger show user u-1
              jobledger show backtest-7 --at 120 --json
              jobledger show backtest-7 --at 2026-11-23T20:45:00Z
            """)

    @OptionGroup var shown: ShownStream

    @Option(
        help: ArgumentHelp("A position, or a time in RFC 3339.", valueName: "position|time"),
        transform: LogMoment.option("--at"))
    var at: LogMoment?

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let stream = try shown.stream()
        let definition = try shown.readModel.definition(of: stream.category)
        let settings = try await options.settings()
        let store = try settings.store()
        let model = try StreamReadModel(definition, of: stream.category, store: store)
        let row =
            if let at {
                try await model.row(stream.id, at: store.position(of: at))
            } else {
                try await model.row(stream.id)
            }
        guard let row else {
            let message =
                "no \(stream.shown)"
                + (at.map { " at \($0.text)" } ?? ", or the projection has not folded it yet")
            if options.json { try Output.json(Append.ErrorAnswer(Refusal(.unknownJob, message))) }
            Output.diagnostic("unknown_job: \(message)")
            throw Failure.refused
        }
        if options.json { return try Output.line(row) }
        for (name, value) in try JSONText.members(of: row) {
            let text = JSONText.string(from: value) ?? String(decoding: value, as: UTF8.self)
            let shown =
                text.utf8.count > 200
                ? "\(text.shortened(toBytes: 200)) (\(text.utf8.count) bytes; --json shows all)" : text
            try Output.line(name.text.padded(to: 21) + Output.printable(String(shown)))
        }
    }
}
