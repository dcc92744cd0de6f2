import ArgumentParser
import Diagnostics
import Foundation
import LedgerCore

/// The command line. Exit codes: 0 done, 1 refused or not equal, 2 usage, 3 cannot connect.
@main
struct Jobledger: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobledger",
        abstract: "An event-sourced ledger of batch jobs, on Postgres and Redis.",
        discussion: """
            Addresses come from DATABASE_URL and REDIS_URL in the environment or in .env, or from a running `jobledger up` \
            by --data-dir. JOBLEDGER_SCHEMA names the ledger.

            EXAMPLE
              jobledger up &
              jobledger append backtest-7 queued --data '{"name": "SMA", "total": 400}'
              jobledger watch backtest-7
            """,
        subcommands: [
            Up.self, Migrate.self, Append.self, History.self, Show.self, Diff.self, BlameCommand.self, Tail.self,
            Watch.self,
            RebuildCommand.self, Verify.self, Receipts.self, Status.self, Audit.self, Serve.self, TokenCommand.self,
            RelayCommand.self,
            Project.self, Projections.self, Export.self, Import.self, BenchCommand.self,
        ])

    static func main() async {
        // A reader that has gone is an error of the write, not the end of the program: a relay must
        // survive its Redis, and all its log's reader.
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
