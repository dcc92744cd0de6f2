import HTTPTypes
import Hummingbird
import LedgerCore
import NIOCore
import NIOHTTPTypes

/// Reads bodies within two limits: one for each request, and one for all requests under way
/// together. Large answers count as bodies do.
final class BodyBudget: Sendable {
    private let perRequest: Int
    private let shared: SharedBytes

    init(perRequest: Int, total: Int) {
        self.perRequest = perRequest
        shared = SharedBytes(total: total, minimum: perRequest)
    }

    /// The bytes that are held now.
    var heldBytes: Int { shared.held }

    /// Calls `body` with the whole body of a request. The bytes count until it returns.
    func withBody<T>(of authorized: AuthorizedRequest, _ body: ([UInt8]) async throws -> T) async throws -> T {
        let request = authorized.request
        let length = request.headers.first(.contentLength).flatMap { Int($0) }
        if let length, length > perRequest { throw tooLarge }
        // A client that waits for permission to send its body gets it only here, after all other
        // checks.
        if request.headers.first(.expect)?.lowercased() == "100-continue" {
            try await authorized.context.channel.writeAndFlush(HTTPResponsePart.head(HTTPResponse(status: .continue)))
                .get()
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(min(length ?? 0, 64 << 10))
        var taken = 0
        let token = Self.holder(authorized.token)
        defer { shared.giveBack(taken, of: token) }
        for try await chunk in request.body {
            let count = chunk.readableBytes
            guard bytes.count + count <= perRequest else { throw tooLarge }
            guard shared.take(count, for: token) else { throw Self.full }
            taken += count
            bytes.append(contentsOf: chunk.readableBytesView)
        }
        if let length, bytes.count != length {
            throw Problem.invalidRequest("the body ended after \(bytes.count) of \(length) bytes")
        }
        return try await body(bytes)
    }

    /// The same answer, whose bytes count until they are sent. That limits the memory for large
    /// answers to clients that read slowly.
    func counting(_ response: Response, for token: AccessToken?) throws(Problem) -> Response {
        guard let count = response.body.contentLength, count > BackgroundWork.small else { return response }
        let token = Self.holder(token)
        guard shared.take(count, for: token) else { throw Self.full }
        let taken = Reservation { [shared] in shared.giveBack(count, of: token) }
        let (body, headers) = (response.body, response.headers)
        var response = response
        response.body = ResponseBody(contentLength: count) { writer in
            try await body.write(writer)
            withExtendedLifetime(taken) {}
        }
        response.headers = headers
        return response
    }

    /// Without tokens, all requests share what one token may have.
    private static func holder(_ token: AccessToken?) -> TokenID { token?.id ?? "" }

    private static let full = Problem.unavailable(
        "this token's requests under way and the answers that it has not read fill the memory that they may use: "
            + "read the answers, send less at once, and try again")

    /// The connection closes, because the rest of the body is not read.
    private var tooLarge: Problem {
        Problem(
            .contentTooLarge, "too_large",
            "a body may have at most \(perRequest) bytes: send fewer events at a time; "
                + "the data of one event may have \(AppendLimits.bytesOfData >> 20) MiB"
        ).adding(.connection, "close")
    }
}
