internal import Audit
internal import AuditTrail
internal import EventStore
internal import HTTPTypes
internal import LedgerCore
internal import Postgres

extension Problem {
    static func invalidRequest(_ detail: String) -> Problem { Problem(.badRequest, "invalid_request", detail) }

    static func malformedJSON(_ detail: String) -> Problem { Problem(.badRequest, "malformed_json", detail) }

    static func unavailable(_ detail: String, code: String = "unavailable", retryAfter seconds: Int = 1) -> Problem {
        Problem(.serviceUnavailable, code, detail).adding(.retryAfter, "\(seconds)")
    }

    init(_ refusal: Refusal) {
        let status: HTTPResponse.Status =
            switch refusal.code {
            case .unknownJob: .notFound
            case .alreadyQueued, .alreadyEnded, .versionConflict, .eventIDConflict: .conflict
            case .invalidEvent: .unprocessableContent
            case .tooLarge: .contentTooLarge
            }
        self.init(status, refusal.code.rawValue, refusal.message)
    }

    /// Of an error that is nobody's mistake outside; the log has what it was.
    init?(_ error: any Error) {
        switch error {
        case let problem as Problem: self = problem
        case let refusal as Refusal: self.init(refusal)
        case is RequestCutOff: self = .invalidRequest("the request ended before its end")
        case let error as SealProofs.NotSealed: self = Problem(.notFound, "not_sealed", error.description)
        case let error as SealProofs.TooMuch: self = Problem(.contentTooLarge, "too_large", error.description)
        case let error as SealDamaged: self = Problem(.internalServerError, "seal_damaged", error.description)
        case let error as AuditTrail.NotProjected:
            self = .unavailable(error.description, code: "not_projected_yet")
        case let error as OutcomeUnknown:
            self = .unavailable("\(error)", code: "outcome_unknown")
        case is GroupCommitStopped:
            self = .unavailable("nothing was written: the service is stopping; try again", code: "stopping")
        case SQLState.undefinedTable, SQLState.undefinedFunction, SQLState.undefinedSchema:
            self = .unavailable("the ledger is not there, or is an older one: jobledger migrate", code: "not_migrated")
        case let error as PostgresError where error.kind == .usage:
            self = .unavailable("too many requests wait for Postgres; try again")
        case let error as PostgresError where error.isRetriable || error.isConnectionFailure:
            self = .unavailable("the ledger cannot be reached right now, and nothing was written; try again")
        default: return nil
        }
    }
}
