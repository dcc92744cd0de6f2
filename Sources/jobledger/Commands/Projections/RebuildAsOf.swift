import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres
import Projections

/// Options of `rebuild` that make the tables of an earlier moment and do not touch those in use.
struct AsOfOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Make the tables as they were at this position or time (RFC 3339), in the schema of --into.",
            valueName: "position|time"), transform: LogMoment.option("--until"))
    var until: LogMoment?

    @Option(
        help: ArgumentHelp(
            "The schema for the tables of --until. It is made if it does not exist.", valueName: "schema"))
    var into: String?

    func validate() throws {
        guard (until == nil) == (into == nil) else {
            throw ValidationError(
                "--until and --into go together: give the moment and the schema for its tables.")
        }
        if let into, LedgerName(into) == nil {
            throw ValidationError("--into \(into): the name of the schema must have 1 to 50 of a–z, 0–9 and _.")
        }
    }

    /// The given moment and schema; `nil` if the options are not used.
    var target: (until: LogMoment, schema: LedgerName)? {
        if let until, let schema = into.flatMap({ LedgerName($0) }) { (until, schema) } else { nil }
    }
}

extension RebuildCommand {
    func makeAsOfTables(
        _ definition: ProjectionDefinition, until: LogMoment, into schema: LedgerName, window: Int,
        _ settings: LedgerSettings, json: Bool
    ) async throws {
        let position = try await settings.store().position(of: until)
        let connection = try await settings.connect("jobledger rebuild \(definition.name)")
        var bar = ProgressBar("replaying", unit: "events")
        let receipt = try await settings.followingLeader {
            try await AsOfTables(definition, ledger: settings.ledger, window: window)
                .run(until: position, into: schema, on: connection) { bar.update($0, of: $1) }
        }
        bar.finish()
        await connection.close()
        let seconds = receipt.duration / .seconds(1)
        if json {
            return try Output.json(
                Answer(
                    projection: definition.name, position: position, rows: receipt.rows, digest: receipt.digest,
                    events: position, seconds: (seconds * 1000).rounded() / 1000))
        }
        try Output.line(
            "\(definition.name) as of position \(position): \(receipt.rows) rows in \(schema)\ndigest \(receipt.digest)"
        )
    }
}
