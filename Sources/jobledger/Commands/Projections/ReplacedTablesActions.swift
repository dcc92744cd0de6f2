import Foundation
import LedgerCore
import Postgres
import Projections

/// What `rebuild` says besides the rebuild itself.
enum RebuildAnswers {
    private struct Plan: Encodable {
        var projection: String
        var sameDefinition: Bool?
        var head: Position
        var events: Int64
        var resumesAt: Position?
        var workers: Int
        var rate: Double?
        var rateOf: String
        var seconds: Double?
        var obstacles: [String]
    }

    static func plan(_ plan: RebuildPlan, json: Bool) throws {
        if json {
            try Output.json(
                Plan(
                    projection: plan.projection, sameDefinition: plan.isSameDefinition, head: plan.head,
                    events: plan.events,
                    resumesAt: plan.resumes?.position, workers: plan.workers, rate: plan.rate?.rounded(),
                    rateOf: plan.rateOf,
                    seconds: plan.seconds.map { ($0 * 10).rounded() / 10 }, obstacles: plan.obstacles))
        } else {
            try Output.line("\(plan.projection): \(plan.events) events to fold, the log ends at \(plan.head)")
            if let resumed = plan.resumes {
                try Output.line("goes on with the rebuild that \(resumed.startedBy) began at \(resumed.startedAt)")
            }
            let compared =
                switch plan.isSameDefinition {
                case true?: "the tables in use are of this definition: digests will be compared"
                case false?: "the tables in use are of another definition: there is nothing to compare with"
                case nil: "there are no tables in use"
                }
            try Output.line(compared)
            if let rate = plan.rate, let seconds = plan.seconds {
                try Output.line(
                    "about \(String(format: "%.0f", seconds)) s at \(Int(min(rate, 1e12))) events/s (\(plan.rateOf)), then the indexes; workers: \(plan.workers)"
                )
            }
            for obstacle in plan.obstacles { try Output.line("in the way: \(obstacle)") }
        }
        if !plan.obstacles.isEmpty { throw Failure.refused }
    }
}

/// `rebuild --undo`, `--drop-old` and `--cancel`.
struct RebuildAftermath {
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
            let undone = try await ReplacedTables.undo(projection, ledger: ledger, on: connection)
            let definition = try? command.projections.definition(named: projection)
            try say(
                Answer(projection: projection, did: "undo", position: undone.position, definition: undone.definition),
                "\(projection) has its old tables again, at position \(undone.position); the live projection goes on from there"
            )
            if let definition, definition.hash != undone.definition {
                Output.diagnostic(
                    "they are of another definition than this program's: a projector that starts now would rebuild again; run the one of before"
                )
            }
        } else if command.dropOld {
            guard try await ReplacedTables.discard(projection, ledger: ledger, on: connection) else {
                throw ReplacedTables.None(projection: projection)
            }
            try say(Answer(projection: projection, did: "drop_old"), "\(projection): the old tables are dropped")
        } else {
            guard try await Rebuild.cancel(projection, ledger: ledger, on: connection) else {
                Output.diagnostic("jobledger: no rebuild of \(projection) was begun")
                throw Failure.refused
            }
            try say(Answer(projection: projection, did: "cancel"), "\(projection): the rebuild is given up")
        }
    }

    private func say(_ answer: Answer, _ text: String) throws {
        if json { try Output.json(answer) } else { try Output.line(text) }
    }
}
