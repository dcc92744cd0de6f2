import ArgumentParser
import EventStore
import Feed
import LedgerCore
import LedgerSettings
import Postgres
import Projections

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tell how far everything is.",
        discussion: """
            Exit code 1 when a projection has stopped.

            EXAMPLE
              jobledger status
              jobledger status --json
            """)

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        struct Reader: Encodable {
            var position: Position
            var lag: Position
            /// Whether somebody holds the reader's lease right now.
            var active: Bool
        }
        struct Projection: Encodable {
            var name: String
            var position: Position
            var lag: Position
            var state: String
            var active: Bool
            var error: String?
            var failedPosition: Position?
        }
        var head: Position
        var epoch: String
        var relay: Reader
        var projections: [Projection]
    }

    func run() async throws {
        let settings = try await options.settings()
        let connection = try await settings.connect("jobledger status")
        let answer = try await connection.transaction(.repeatableRead, readOnly: true) { try await Self.look(on: $0) }
        await connection.close()
        if options.json {
            try Output.json(answer)
        } else {
            try Output.line("ledger      \(settings.ledger), epoch \(answer.epoch)")
            try Output.line("head        \(answer.head)")
            try Output.line(
                "relay       at \(answer.relay.position), \(answer.relay.lag) behind\(answer.relay.active ? "" : ", nobody at work")"
            )
            for projection in answer.projections {
                try Output.line(
                    "projection  \(projection.name) at \(projection.position), \(projection.lag) behind, \(projection.state)\(projection.active ? "" : ", nobody at work")"
                )
                if let error = projection.error {
                    try Output.line("            stopped by the event at position \(projection.failedPosition ?? 0): \(error)")
                }
            }
        }
        if answer.projections.contains(where: { $0.error != nil }) { throw Failure.refused }
    }

    private static func look(on connection: PostgresConnection) async throws -> Answer {
        let row = try await connection.query(
            """
            SELECT head() AS head, (SELECT epoch::text FROM ledger) AS epoch,
                   coalesce((SELECT position FROM checkpoints WHERE reader = $1), 0) AS relay,
                   ARRAY(SELECT name FROM leases WHERE expires_at >= clock_timestamp()) AS active
            """, Relay.reader
        ).only()
        let (head, relay): (Position, Position) = (try row.decode("head"), try row.decode("relay"))
        let active = Set(try row.decode("active", as: [String].self))
        return Answer(
            head: head, epoch: try row.decode("epoch"),
            relay: .init(position: relay, lag: head - relay, active: active.contains("relay")),
            projections: try await ProjectionState.all(on: connection).map { state in
                .init(
                    name: state.name, position: state.position, lag: head - state.position,
                    state: state.stopped == nil ? "running" : "stopped", active: active.contains("projection:\(state.name)"),
                    error: state.stopped?.error, failedPosition: state.stopped?.position)
            })
    }
}
