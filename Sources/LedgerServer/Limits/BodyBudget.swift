import HTTPTypes
import Hummingbird
import LedgerCore
import NIOCore
import NIOHTTPTypes

/// Reads bodies within two bounds: that of one request, and that of all requests under way
/// together. Answers count as bodies do.
final class BodyBudget: Sendable {
    private let perRequest: Int
    private let shared: SharedBytes

    init(perRequest: Int, total: Int) {
        self.perRequest = perRequest
        shared = SharedBytes(total: total, minimum: perRequest)
    }

    /// Bytes that are held now.
    var heldBytes: Int { shared.held }

    /// Gives `body` the whole body of a request, whose bytes count until it returns.
    func withBody<T>(of authorized: AuthorizedRequest, _ body: ([UInt8]) async throws -> T) async throws -> T {
        let request = authorized.request
        let length = request.headers.first(.contentLength).flatMap { Int($0) }
        if let length, length > perRequest { throw tooLarge }
        // Who asks first whether it may send its body is told so only now, that nothing speaks
        // against it.
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

    /// The answer, whose bytes count until they are on their way: of many large ones, read slowly,
    /// the memory has a bound too.
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

    /// Where no tokens are asked for, all have the share of one.
    private static func holder(_ token: AccessToken?) -> TokenID { token?.id ?? "" }

    private static let full = Problem.unavailable(
        "the bodies of this token's requests under way, and the answers that it has not read, fill the memory that they may have: read the answers, send less at once, and try again"
    )

    /// What is still to come of the body is not waited for.
    private var tooLarge: Problem {
        Problem(
            .contentTooLarge, "too_large",
            "a body may have \(perRequest) bytes: send fewer events at a time; the data of one may have 8 MiB"
        ).adding(
            .connection, "close")
    }
}
