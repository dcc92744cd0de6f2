import AuditTrail
import EventStore
import Feed
import HTTPTypes
import LedgerCore
import Postgres
import Seal

extension PostgresError {
    /// Whether the database is away or cannot answer now, and the request is not at fault.
    var isOutage: Bool {
        switch disposition {
        case .retry, .outage, .unknown: kind != .cancelled
        case .refusal, .defect: false
        }
    }
}

extension Problem {
    static func invalidRequest(_ detail: String) -> Problem { Problem(.badRequest, "invalid_request", detail) }

    /// The client was given a position, or an event, that the log does not have.
    static func anotherLedger(_ position: Position, head: Position) -> Problem {
        Problem(
            .conflict, "another_ledger",
            "the log ends at position \(head), before position \(position): the ledger was restored or re-created; "
                + "start again from 0")
    }

    static func malformedJSON(_ detail: String) -> Problem { Problem(.badRequest, "malformed_json", detail) }

    static func unavailable(_ detail: String, code: String = "unavailable", retryAfter seconds: Int = 1) -> Problem {
        Problem(.serviceUnavailable, code, detail).adding(.retryAfter, "\(seconds)")
    }

    /// The level quorum was asked for, or is demanded, where it cannot be reached.
    private static var withoutStandbys: Problem {
        .unavailable(
            "nothing was written: the level quorum needs standbys, and the database waits for none. Its operator sets "
                + "synchronous_standby_names; without durability=quorum an append needs none, unless the ledger "
                + "demands it (jobledger durability)",
            code: "no_standby")
    }

    init(_ refusal: Refusal) {
        let status: HTTPResponse.Status =
            switch refusal.code {
            case .unknownJob: .notFound
            case .alreadyQueued, .alreadyEnded, .versionConflict, .eventIDConflict, .notUnique, .invalidTransition:
                .conflict
            case .invalidEvent, .unknownReference: .unprocessableContent
            case .tooLarge: .contentTooLarge
            }
        self.init(status, refusal.code.rawValue, refusal.message)
    }

    /// The answer for a known error; `nil` for one that only a defect in the program can cause.
    init?(_ error: any Error) {
        switch error {
        case let problem as Problem: self = problem
        case let refusal as Refusal: self.init(refusal)
        case let told as RefusalOfReader:
            self = Problem(told.refusal).adding("holder", json: String(decoding: told.holder.json, as: UTF8.self))
        case let error as UnknownKind: self = .invalidRequest(error.description)
        case is RequestCutOff: self = .invalidRequest("the request ended before it was complete")
        case let error as SealProofs.NotSealed: self = Problem(.notFound, "not_sealed", error.description)
        case let error as SealProofs.TooMuch: self = Problem(.contentTooLarge, "too_large", error.description)
        case let error as SealDamaged: self = Problem(.internalServerError, "seal_damaged", error.description)
        case let error as AuditTrail.NotProjected:
            self = .unavailable(error.description, code: "not_projected_yet")
        case let error as OutcomeUnknown:
            self = .unavailable("\(error)", code: "outcome_unknown")
        case let error as NotConfirmed where error.lacksStandbys: self = .withoutStandbys
        case is NotConfirmed:
            self = .unavailable(
                "nothing was written: the level quorum needs the server's standbys, and they do not answer; try again",
                code: "no_standby")
        case is StandbyReadsEarly:
            self = .unavailable(
                "the ledger demands standbys, and the service reads from one: it follows on the primary")
        case is GroupCommitBusy:
            self = .unavailable("nothing was written: the ledger has not answered the appends before it; try again")
        case is GroupCommitStopped:
            self = .unavailable("nothing was written: the service is stopping; try again", code: "stopping")
        case is CancellationError:
            self = .unavailable(
                "the service is stopping and ended the request before it was answered; try again", code: "stopping")
        case let error as PostgresError:
            guard let problem = Problem(error) else { return nil }
            self = problem
        default: return nil
        }
    }

    /// An outage has an answer; a defect in a program has none. The answer leaves out the server's
    /// message, which may name addresses and users; the log has it. An append that may have been
    /// written has an answer of its own, ``OutcomeUnknown``.
    private init?(_ error: PostgresError) {
        switch (error.disposition, error.sqlState) {
        case (.defect, _), (.refusal, _): return nil
        case (_, SQLState.undefinedTable), (_, SQLState.undefinedFunction), (_, SQLState.undefinedSchema),
            (_, SQLState.undefinedColumn):
            self = .unavailable(
                "the ledger does not exist or is of an older version: run jobledger migrate", code: "not_migrated")
        case (_, SQLState.insufficientPrivilege):
            self = .unavailable(
                "nothing was written: the service's database user lacks a right that it needs "
                    + "(docs/security.md lists them)")
        case (_, SQLState.noStandbys): self = .withoutStandbys
        case (_, SQLState.readOnly):
            self = .unavailable("nothing was written: the ledger's database takes no writes at the moment; try again")
        case (_, SQLState.diskFull):
            self = .unavailable(
                "nothing was written: the disk of the ledger's database is full; try again when it has space")
        case (_, SQLState.queryCancelled):
            self = .unavailable(
                "nothing was written: a time limit or an operator ended the statement in the database; try again")
        case _ where error.kind == .busy:
            self = .unavailable("nothing was written: too many requests are waiting for the database; try again")
        default: self = .unavailable("nothing was written: the ledger's database cannot be reached; try again")
        }
    }
}
