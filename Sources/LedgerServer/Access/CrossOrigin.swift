import HTTPTypes
import Hummingbird
import LedgerCore

/// The pages of other origins that may use the service from a browser (CORS).
struct CrossOrigin: Sendable {
    /// `*` for all.
    let origins: [ExactText]

    private static let methods = "GET, HEAD, POST"
    private static let headers =
        "Authorization, Content-Type, Accept, Idempotency-Key, Last-Event-ID, Cache-Control, traceparent, tracestate"
    private static let exposed = "Ledger-Position, X-Request-Id, Retry-After"

    private func allowed(_ request: Request) -> String? {
        guard !origins.isEmpty, let origin = request.headers[.origin] else { return nil }
        if origins.contains("*") { return "*" }
        return origins.contains(ExactText(origin)) ? origin : nil
    }

    /// The answer to a browser's preflight request; `nil` for any other request.
    func preflight(_ request: Request) -> Response? {
        guard request.method == .options, request.headers[.accessControlRequestMethod] != nil, allowed(request) != nil
        else {
            return nil
        }
        return Response(
            status: .noContent,
            headers: [
                .accessControlAllowMethods: Self.methods, .accessControlAllowHeaders: Self.headers,
                .accessControlMaxAge: "600",
            ])
    }

    /// Allows the page to read the answer.
    func allow(_ request: Request, _ response: inout Response) {
        guard !origins.isEmpty else { return }
        if !origins.contains("*") { response.headers.append(HTTPField(name: .vary, value: "Origin")) }
        guard let origin = allowed(request) else { return }
        response.headers[.accessControlAllowOrigin] = origin
        response.headers[.accessControlExposeHeaders] = Self.exposed
    }
}
