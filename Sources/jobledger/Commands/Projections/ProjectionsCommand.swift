import ArgumentParser
import LedgerCore
import LedgerSettings
import Projections

struct Projections: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write projections and test them.",
        discussion: """
            docs/projections.md is the guide.

            EXAMPLE
              jobledger projections new job_times
              jobledger projections test job_times --projections projections
              jobledger projections check job_times --projections projections
            """,
        subcommands: [New.self, Test.self, Check.self])

    struct New: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Begin a projection: write a folder with a working example.",
            discussion: """
                Writes a definition, a schema, a fold, a case and a README for you to change. Never overwrites a file.

                EXAMPLE
                  jobledger projections new job_times
                  jobledger projections new job_times --projections ./my-projections
                """)

        @Argument(help: "The name of the projection and of its folder: 1 to 50 of a–z, 0–9 and _.")
        var name: String

        @Option(help: ArgumentHelp("The folder that contains the folders of projections.", valueName: "dir"))
        var projections = "projections"

        @Flag(help: "Answer in JSON.")
        var json = false

        private struct Answer: Encodable {
            var projection: String
            var files: [String]
        }

        func run() async throws {
            guard let projection = LedgerName(name) else {
                throw ValidationError(
                    "\(name): a projection's name has 1 to 50 of a–z, 0–9 and _, and does not begin with a digit "
                        + "or pg_.")
            }
            let files = try NewProjection(projection).write(in: projections)
            if json { return try Output.json(Answer(projection: name, files: files)) }
            for file in files { try Output.line(file) }
            Output.diagnostic("next: jobledger projections test \(name) --projections \(projections)")
        }
    }

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the cases of the projections.",
            discussion: """
                Appends the events of each case to a scratch ledger, folds them in windows of several sizes, compares \
                the rows, and rolls back. Without DATABASE_URL it starts a private Postgres. Exit code 1 if a case \
                fails.

                EXAMPLE
                  jobledger projections test
                  jobledger projections test daily_stats --projections ./my-projections
                """)

        @Argument(help: "Only these projections.")
        var names: [String] = []

        @OptionGroup var projections: ProjectionOptions
        @OptionGroup var categories: CategoryOptions
        @OptionGroup var options: LedgerOptions

        private struct Line: Encodable {
            var projection: String
            var `case`: String
            var passed: Bool
            var problems: [String]
        }

        func run() async throws {
            let settings = try await options.settings()
            let definitions = try projections.definitions(named: names)
            let cases = try Cases(definitions, categories: categories.definitions())
            let outcomes = try await settings.withScratchServer { try await cases.run(url: $0) }
            let shown = outcomes.map {
                CaseReport.Outcome(definition: $0.projection, file: $0.file, problems: $0.problems)
            }
            try CaseReport.show(shown, json: options.json) {
                Line(projection: $0.definition, case: $0.file, passed: $0.passed, problems: $0.problems)
            }
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check that projections are deterministic.",
            discussion: """
                First, Postgres parses schema.sql and apply.sql, and the parse trees are searched for clocks, random \
                values, sequences, functions that are volatile or depend on settings, tables that are not the \
                projection's own, and results that depend on an unspecified order. Then every case, with the events \
                of its jobs interleaved in several ways, and a random history are folded in windows of several sizes \
                and read in several orders, and the rows are compared. All of it happens in a scratch ledger that is \
                rolled back. Without DATABASE_URL it starts a private Postgres. Exit code 1 if anything is found.

                EXAMPLE
                  jobledger projections check
                  jobledger projections check daily_stats --projections ./my-projections --json
                """)

        @Argument(help: "Only these projections.")
        var names: [String] = []

        @OptionGroup var projections: ProjectionOptions
        @OptionGroup var categories: CategoryOptions
        @OptionGroup var options: LedgerOptions

        private struct Line: Encodable {
            var projection: String
            var passed: Bool
            var folds: Int
            var problems: [Problem]
        }

        private struct Problem: Encodable {
            var place: String
            var what: String
            var instead: String
        }

        func run() async throws {
            let settings = try await options.settings()
            let definitions = try projections.definitions(named: names)
            let checks = try categories.checks(of: definitions)
            let failed = try await settings.withScratchServer { url in
                var failed = 0
                for check in checks {
                    let outcome = try await check.run(url: url)
                    if !outcome.diagnostics.isEmpty { failed += 1 }
                    try show(outcome)
                }
                return failed
            }
            if failed > 0 { throw Failure.refused }
        }

        private func show(_ outcome: ProjectionCheck.Outcome) throws {
            let problems = outcome.diagnostics
            if options.json {
                return try Output.json(
                    Line(
                        projection: outcome.projection, passed: problems.isEmpty, folds: outcome.folds,
                        problems: problems.map { Problem(place: $0.place, what: $0.what, instead: $0.instead) }))
            }
            try Output.line(
                problems.isEmpty
                    ? "ok   \(outcome.projection): \(outcome.folds) folds, all with the same rows"
                    : "FAIL \(outcome.projection)")
            for problem in problems {
                try Output.line("     \(problem.place): \(problem.what)")
                try Output.line("         \(problem.instead)")
            }
        }
    }
}

extension ProjectionOptions {
    /// The named definitions; all of them if no name is given.
    fileprivate func definitions(named names: [String]) throws -> [ProjectionDefinition] {
        try names.isEmpty ? definitions() : names.map { try definition(named: $0) }
    }
}
