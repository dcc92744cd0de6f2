import ArgumentParser
import Diagnostics
import Foundation
import LedgerCore

/// The command line. ``ExitStatus`` lists what it exits with.
@main
struct Jobledger: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobledger",
        abstract: "An event-sourced ledger of batch jobs, on Postgres and Redis.",
        discussion: """
            The addresses of Postgres and Redis come from DATABASE_URL and REDIS_URL, in the environment or in .env. \
            With --data-dir they come from a running `jobledger up`. JOBLEDGER_SCHEMA names the ledger.

            Exit codes: 0 done, 1 refused or not equal, 2 wrong usage, 3 cannot connect.

            EXAMPLE
              jobledger up &
              jobledger append backtest-7 queued --data '{"name": "SMA", "total": 400}'
              jobledger watch backtest-7
            """,
        subcommands: [
            Up.self, Migrate.self, DurabilityCommand.self, Append.self, History.self, Show.self, Diff.self,
            BlameCommand.self, Tail.self, Watch.self, Lost.self, RebuildCommand.self, Verify.self, Receipts.self,
            Status.self, Audit.self, Serve.self,
            TokenCommand.self, RelayCommand.self, Project.self, Projections.self, CategoriesCommand.self, Export.self,
            Import.self, BenchCommand.self,
        ])

    static func main() async {
        // When the other end of a connection or pipe is gone, the write fails and the process goes
        // on: a relay must survive a lost Redis, and every command a closed log.
        StandardStreams.prepare()
        do {
            try GivenTexts.checkArguments()
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            Failure.exit(with: error)
        }
    }
}
