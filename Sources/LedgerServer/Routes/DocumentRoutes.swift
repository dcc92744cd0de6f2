import HTTPTypes
import Hummingbird
import LedgerCore

/// The routes that return the documents that describe the service.
///
/// Anyone may read them as they ship. What categories the ledger has is for those who may use it.
struct DocumentRoutes: Sendable {
    let documents: ServedDocuments
    /// `nil` if the service requires no tokens.
    let tokens: TokenCheck?

    var routes: [Route] {
        ServiceDocument.allCases.map { document in
            Route(.get, "/\(document.rawValue)", scope: nil) { try await answer($0, document) }
        }
    }

    private func answer(_ authorized: AuthorizedRequest, _ document: ServiceDocument) async throws -> Response {
        // Making a document takes long enough to delay the event loop of other connections.
        let body = try await withTaskExecutorPreference(globalConcurrentExecutor) {
            switch await sender(of: authorized.request) {
            case .stranger: ByteBuffer(string: try document.shipped())
            case .user: try await documents.whole(document)
            case .unknown: ByteBuffer(string: try document.withoutCategories())
            }
        }
        return Response(
            status: .ok, headers: [.contentType: "application/json", .vary: "Authorization"],
            body: ResponseBody(byteBuffer: body))
    }

    private enum Sender {
        case stranger, user
        /// The token cannot be checked now.
        case unknown
    }

    /// No token is needed, so one that does not work counts as none.
    private func sender(of request: Request) async -> Sender {
        guard let tokens else { return .user }
        guard let header = request.headers.first(.authorization),
            let token = AccessToken.text(inHeader: header).flatMap({ AccessToken($0) })
        else { return .stranger }
        do {
            return try await tokens.scopes(of: token) == nil ? .stranger : .user
        } catch {
            return .unknown
        }
    }
}
