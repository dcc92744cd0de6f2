import ArgumentParser
import EventStore
import LedgerSettings
import Seal
import TransparencyLog

struct AuditTiles: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tiles",
        abstract: "Write the sealed tree into a directory.",
        discussion: """
            Writes the checkpoint and its tiles as files (C2SP tlog-tiles) that any web server can serve. Files that \
            exist are not written again. `jobledger audit verify --tiles DIR` compares the events with them.

            EXAMPLE
              jobledger audit tiles /mnt/archive/ledger
            """)

    @Argument(help: "The directory. It is made if it does not exist.")
    var directory: String

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var position: Int64
    }

    func run() async throws {
        let settings = try await options.settings()
        let store = try settings.store(connections: 1)
        let checkpoint = try await settings.followingLeader {
            try await SealProofs(store).write(to: TileDirectory(path: directory))
        }
        await store.close()
        guard let checkpoint else {
            Output.diagnostic("nothing is sealed yet: there are no tiles to write (jobledger audit seal)")
            throw Failure.refused
        }
        if options.json { return try Output.json(Answer(position: checkpoint.head.size)) }
        try Output.line("\(directory) has the tree over \(checkpoint.head.size) events")
    }
}
