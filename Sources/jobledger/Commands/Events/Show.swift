import ArgumentParser
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import Projections

struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a job, now or as it was.",
        discussion: """
            Shows the job's row of batch_jobs. With --at, shows it as it was at that position or time.

            EXAMPLE
              jobledger show backtest-7
              jobledger show backtest-7 --at 120 --json
              jobledger show backtest-7 --at 2026-11-23T20:45:00Z
            """)

    @Argument(help: "The job's id.")
    var job: JobID

    @Option(
        help: ArgumentHelp("A position, or a time in RFC 3339.", valueName: "position|time"),
        transform: LogMoment.option("--at"))
    var at: LogMoment?

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    func run() async throws {
        let settings = try await options.settings()
        let store = try settings.store()
        let model = JobReadModel(try projections.definition(named: JobReadModel.projection), store: store)
        let row =
            if let at { try await model.job(job, at: store.position(of: at)) } else { try await model.job(job) }
        guard let row else {
            let message =
                "no job \(Output.printable(job))"
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
