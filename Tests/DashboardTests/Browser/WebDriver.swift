import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// Requests to a WebDriver (https://www.w3.org/TR/webdriver2/).
struct WebDriver: Sendable {
    /// The address of the driver, without a path.
    let address: String

    private static let client = HTTPClient()
    /// A page may take long where the machine does other work.
    private static let limit = TimeAmount.seconds(180)

    /// Sends a command and returns the member `value` of the answer.
    /// - Throws: ``WebDriverError`` for a command that failed.
    @discardableResult
    func send(_ method: HTTPMethod, _ path: String, _ body: JSON = [:]) async throws -> JSON {
        var request = HTTPClientRequest(url: address + path)
        request.method = method
        if method == .POST {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: try body.bytes))
        }
        let response = try await Self.client.execute(request, timeout: Self.limit)
        let answer = try JSON(parsing: String(buffer: try await response.body.collect(upTo: 64 << 20)))
        let value = answer["value"] ?? .null
        guard response.status == .ok else {
            throw WebDriverError(kind: value["error"]?.text ?? "", message: value["message"]?.text ?? "\(answer)")
        }
        return value
    }
}

struct WebDriverError: Error, CustomStringConvertible {
    /// As the standard names it, such as `no such element`.
    let kind: String
    let message: String

    var description: String { "\(kind): \(message.split(separator: "\n").prefix(3).joined(separator: " "))" }

    /// Whether the page that was asked has gone, because another is coming.
    var isOfNavigation: Bool {
        ["document unloaded", "aborted by navigation", "context was destroyed", "execution context", "not attached"]
            .contains { message.contains($0) }
    }
}
