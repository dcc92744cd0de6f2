import LedgerCore
import Postgres
import Projections

/// The actions of `rebuild --undo`, `--drop-old` and `--cancel`, which replay nothing.
struct ReplacedTablesActions {
    private let projection: String
    private let ledger: LedgerName
    private let json: Bool

    init(_ projection: String, _ ledger: LedgerName, _ json: Bool) {
        self.projection = projection
        self.ledger = ledger
        self.json = json
    }

    private struct Answer: Encodable {
        var projection: String
        var did: String
        var position: Position?
        var definition: String?
    }

    func run(_ command: RebuildCommand, on connection: PostgresConnection) async throws {
        if command.undo {
            try await undo(command, on: connection)
        } else if command.dropOld {
            guard try await ReplacedTables.discard(projection, ledger: ledger, on: connection) else {
                throw ReplacedTables.None(projection: projection)
            }
            try show(Answer(projection: projection, did: "drop_old"), "\(projection): the old tables are dropped")
        } else {
            guard try await Rebuild.cancel(projection, ledger: ledger, on: connection) else {
                Output.diagnostic("jobledger: \(projection) has no unfinished rebuild")
                throw Failure.refused
            }
            try show(Answer(projection: projection, did: "cancel"), "\(projection): the rebuild is discarded")
        }
    }

    private func undo(_ command: RebuildCommand, on connection: PostgresConnection) async throws {
        // The old tables may belong to a projection that this program does not define.
        let definition = try command.projections.definitions().first { $0.name == projection }
        let undone = try await ReplacedTables.undo(projection, ledger: ledger, on: connection)
        try show(
            Answer(projection: projection, did: "undo", position: undone.position, definition: undone.definition),
            "\(projection) has its old tables again, at position \(undone.position); "
                + "the live projection goes on from there")
        if let definition, definition.hash != undone.definition {
            Output.diagnostic(
                "the old tables have another definition than this program's: a projector of this program would "
                    + "rebuild them; run the earlier version of the program")
        }
    }

    private func show(_ answer: Answer, _ text: String) throws {
        if json { try Output.json(answer) } else { try Output.line(text) }
    }
}
