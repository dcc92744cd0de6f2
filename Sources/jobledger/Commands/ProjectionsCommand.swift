import ArgumentParser
import EmbeddedServices
import Foundation
import LedgerSettings
import Projections

struct Projections: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Work on projections.",
        discussion: """
            EXAMPLE
              jobledger projections test
            """,
        subcommands: [Test.self])

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the cases of the projections.",
            discussion: """
                Each case is appended to a scratch ledger that is rolled back, folded in windows of several sizes, and compared. Without \
                DATABASE_URL a private Postgres is started for it. Exit code 1 when a case does not hold.

                EXAMPLE
                  jobledger projections test
                  jobledger projections test daily_stats --projections ./my-projections
                """)

        @Argument(help: "Only these projections.")
        var names: [String] = []

        @OptionGroup var projections: ProjectionOptions
        @OptionGroup var options: LedgerOptions

        private struct Line: Encodable {
            var projection: String
            var `case`: String
            var passed: Bool
            var problems: [String]
        }

        func run() async throws {
            let settings = try await options.settings()
            let definitions = try names.isEmpty ? projections.definitions() : names.map { try projections.definition(named: $0) }
            let outcomes: [Cases.Outcome]
            if let url = settings.databaseURL {
                outcomes = try await Cases(definitions).run(url: url)
            } else {
                let directory = FileManager.default.temporaryDirectory.appending(path: "jobledger-cases-\(UUID().uuidString)")
                let server = try await PrivatePostgres.start(directory: directory, settings: ["fsync": "off"])
                do {
                    outcomes = try await Cases(definitions).run(url: server.url)
                } catch {
                    try await server.stop()
                    try FileManager.default.removeItem(at: directory)
                    throw error
                }
                try await server.stop()
                try FileManager.default.removeItem(at: directory)
            }
            for outcome in outcomes {
                if options.json {
                    try Output.json(
                        Line(
                            projection: outcome.projection, case: outcome.file, passed: outcome.problems.isEmpty,
                            problems: outcome.problems))
                } else {
                    try Output.line("\(outcome.problems.isEmpty ? "ok  " : "FAIL") \(outcome.projection)/cases/\(outcome.file)")
                    for problem in outcome.problems { try Output.line("     \(problem)") }
                }
            }
            let failed = outcomes.count { !$0.problems.isEmpty }
            if !options.json {
                try Output.line("\(outcomes.count - failed) cases hold, \(failed) \(failed == 1 ? "does" : "do") not")
            }
            if failed > 0 { throw Failure.refused }
            if outcomes.isEmpty {
                Output.diagnostic("there are no cases")
                throw Failure.refused
            }
        }
    }
}
