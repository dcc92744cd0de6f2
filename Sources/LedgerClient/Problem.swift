import Foundation
import LedgerCore
import NIOHTTP1

/// The service's error answer: `application/problem+json`, RFC 9457.
struct Problem: Decodable {
    var code: String?
    var detail: String?

    /// The error that an answer with this status stands for.
    /// - Throws: the ledger's ``Refusal``, if it is one.
    static func error(_ status: Int, _ headers: HTTPHeaders, _ body: [UInt8]) throws(Refusal) -> LedgerClientError {
        // The answer of a proxy, for example, is not problem+json. Then only the status tells.
        let problem = (try? JSONDecoder().decode(Problem.self, from: Data(body))) ?? Problem()
        let detail = problem.detail ?? "the service answered with status \(status)"
        if let code = problem.code.flatMap(Refusal.Code.init(rawValue:)) { throw Refusal(code, detail) }
        switch status {
        case 401, 403: return LedgerClientError(.unauthorized, detail)
        case 409 where problem.code == "another_ledger": return LedgerClientError(.anotherLedger, detail)
        // A 500 with a code is a defect of the service, and the same request would meet it again.
        // Without a code it comes from a proxy and may be temporary.
        case 500 where problem.code != nil: return LedgerClientError(.refused(code: problem.code ?? ""), detail)
        case 408, 425, 429, 500, 502, 503, 504:
            let seconds = headers.first(name: "retry-after").flatMap { Int(decimal: $0) }
            let kind: LedgerClientError.Kind = problem.code == "not_durable" ? .notDurable : .unavailable
            return LedgerClientError(kind, detail, retryAfter: seconds.map { .seconds(min(max($0, 0), 60)) })
        default:
            return problem.code.map { LedgerClientError(.refused(code: $0), detail) }
                ?? LedgerClientError(.notUnderstood, detail)
        }
    }
}
