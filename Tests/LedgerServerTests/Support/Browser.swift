import AsyncHTTPClient
import Foundation
import LedgerServer
import NIOCore
import NIOHTTP1

/// A browser as the service sees it: it keeps the cookie of a session and sends it with each
/// request. It follows no redirect, so that tests see where they lead.
struct Browser: Sendable {
    let service: TestService
    /// `name=value`, as the header `Cookie` has it.
    private(set) var cookie: String?

    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        return HTTPClient(configuration: configuration)
    }()

    init(_ service: TestService) { self.service = service }

    /// Sends a request without a token.
    mutating func ask(
        _ method: String = "GET", _ path: String, _ body: String? = nil, type: String = "application/json",
        headers: [String: String] = [:]
    ) async throws -> TestService.Answer {
        var request = HTTPClientRequest(url: service.url + path)
        request.method = .RAW(value: method)
        if let cookie { request.headers.add(name: "cookie", value: cookie) }
        if let body {
            request.body = .bytes(ByteBuffer(string: body))
            request.headers.add(name: "content-type", value: type)
        }
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        let response = try await Self.client.execute(request, timeout: .seconds(120))
        let bytes = try await response.body.collect(upTo: 16 << 20)
        for field in response.headers["set-cookie"] { keep(field) }
        return TestService.Answer(
            status: Int(response.status.code),
            headers: Dictionary(response.headers.map { ($0.name.lowercased(), $0.value) }) { $0 + ", " + $1 },
            body: Array(bytes.readableBytesView))
    }

    private mutating func keep(_ field: String) {
        let pair = String(field.prefix { $0 != ";" })
        if field.contains("Max-Age=0") {
            if let name = pair.split(separator: "=").first, cookie?.hasPrefix("\(name)=") == true { cookie = nil }
        } else {
            cookie = pair
        }
    }

    /// Signs in with a token.
    mutating func signIn(_ token: String, headers: [String: String] = [:]) async throws -> TestService.Answer {
        try await ask("POST", "/v1/session", #"{"token":"\#(token)"}"#, headers: headers)
    }

    /// Opens an address that signs in.
    mutating func open(_ code: SignInCodes.Code, _ method: String = "GET", headers: [String: String] = [:]) async throws
        -> TestService.Answer
    {
        try await ask(method, code.address(at: ""), headers: headers)
    }
}
