import HTTPTypes
import Hummingbird
import LedgerCore

/// What the fields of a request ask for that cannot be given, whatever the route (RFC 9110). Nobody
/// is told that something was done under a condition that nobody looked at.
enum RequestFields {
    /// Of which there is one or none: of two, another program on the way may have believed the
    /// other.
    private static let single: [HTTPField.Name] = [
        .authorization, .contentType, .idempotencyKey, .lastEventID, .origin,
    ]

    static func check(_ request: Request) throws(Problem) {
        var seen: Set<HTTPField.Name> = []
        for field in request.headers {
            if single.contains(field.name), !seen.insert(field.name).inserted {
                throw .invalidRequest("the field \"\(field.name.rawName)\" may be given once")
            }
            try check(field, request.method)
        }
    }

    private static func check(_ field: HTTPField, _ method: HTTPRequest.Method) throws(Problem) {
        switch field.name {
        // 13.1: nothing here has a tag that could match.
        case .ifMatch where field.value != "*", .ifNoneMatch where field.value == "*" && method == .post:
            throw Problem(
                .preconditionFailed, "precondition_failed",
                "the ledger has no entity tags; to append under a condition give the event an \"expected_version\"")
        // 8.4: what an encoding hides is not looked for.
        case .contentEncoding where !isIdentity(field.value):
            throw Problem(
                .unsupportedMediaType, "unsupported_content_encoding",
                "bodies are taken as they are, not in the encoding \"\(field.value.shortened(toBytes: 100))\""
            ).adding(.acceptEncoding, "identity")
        default: return
        }
    }

    /// A list of codings, all of which leave a body as it is; an empty one, too.
    private static func isIdentity(_ codings: String) -> Bool {
        codings.utf8.split(separator: UInt8(ascii: ",")).map { Substring($0).trimmingSpaces().lowercased() }
            .allSatisfy { $0 == "identity" || $0.isEmpty }
    }

    /// 13.1.2: whether it is asked only whether there is anything.
    static func isAlwaysNotModified(_ request: Request) -> Bool {
        [.get, .head].contains(request.method) && request.headers.first(.ifNoneMatch)?.trimmingSpaces() == "*"
    }
}
