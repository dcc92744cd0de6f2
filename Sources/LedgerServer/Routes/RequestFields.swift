import HTTPTypes
import Hummingbird
import LedgerCore

/// Checks header fields that the service cannot honor, whatever the route (RFC 9110). Otherwise a
/// client would believe that its condition was checked.
enum RequestFields {
    /// Fields of which a request may have at most one: of two, an intermediary may have used the
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
        // 13.1: nothing here has an entity tag that could match.
        case .ifMatch where field.value != "*", .ifNoneMatch where field.value == "*" && method == .post:
            throw Problem(
                .preconditionFailed, "precondition_failed",
                "the ledger has no entity tags; to append under a condition give the event an \"expected_version\"")
        // 8.4: bodies are not decoded.
        case .contentEncoding where !isIdentity(field.value):
            throw Problem(
                .unsupportedMediaType, "unsupported_content_encoding",
                "bodies must be sent unencoded, not in the encoding \"\(field.value.shortened(toBytes: 100))\""
            ).adding(.acceptEncoding, "identity")
        default: return
        }
    }

    /// Whether all codings in the list leave a body as it is. The list may be empty.
    private static func isIdentity(_ codings: String) -> Bool {
        codings.utf8.split(separator: UInt8(ascii: ",")).map { Substring($0).trimmingSpaces().lowercased() }
            .allSatisfy { $0 == "identity" || $0.isEmpty }
    }

    /// 13.1.2: `If-None-Match: *` on a read, which asks only whether something exists.
    static func isAlwaysNotModified(_ request: Request) -> Bool {
        [.get, .head].contains(request.method) && request.headers.first(.ifNoneMatch)?.trimmingSpaces() == "*"
    }
}
