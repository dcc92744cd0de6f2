import ArgumentParser
import AsyncHTTPClient
import Foundation
import LedgerCore
import NIOCore
import NIOHTTP1
import NIOPosix
import TransparencyLog

/// A checkpoint kept at an HTTP address, which is read with GET and written with PUT.
struct CheckpointAddress: WitnessMemory {
    /// Secret, because its query may hold a token.
    let url: SecretText
    /// Scheme, host and path of the address, without the parts that may be secret.
    let name: String
    /// The value of the header `Authorization`.
    let authorization: SecretText?

    /// Whether the user meant an address and not a file: true for every text that begins like an
    /// address, even a malformed one. A file with such a name is written `./NAME`.
    static func looksLikeAddress(_ place: String) -> Bool {
        let place = place.drop { $0.isWhitespace }
        return place.prefixMatch(of: /[A-Za-z][A-Za-z0-9+.\-]*:/) != nil || place.hasPrefix("//")
            || place.contains("://")
    }

    /// - Throws: ``ValidationError`` if the text is not an HTTP address. The message does not show
    ///   the text.
    init(_ url: String, authorization: SecretText?) throws {
        guard let parts = URLComponents(string: url), let scheme = parts.scheme?.lowercased(),
            ["http", "https"].contains(scheme),
            let host = parts.host, !host.isEmpty
        else {
            throw ValidationError(
                "the address of the anchor is malformed (it may hold a secret and is not shown): write one like "
                    + "https://archive.example/ledger/checkpoint. For a file whose name looks like an address, "
                    + "write ./NAME.")
        }
        guard parts.user == nil, parts.password == nil else {
            throw ValidationError(
                "the address of the anchor must not have a user or password, because they would not be sent: "
                    + "set JOBLEDGER_ANCHOR_AUTHORIZATION to the header instead.")
        }
        self.url = SecretText(url)
        self.authorization = authorization
        name = "\(scheme)://\(host)\(parts.port.map { ":\($0)" } ?? "")\(parts.path)"
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// The address did not answer. Another attempt may succeed.
    struct Unreachable: ExitStatusProviding, CustomStringConvertible {
        let description: String
        var exitStatus: ExitStatus { .cannotConnect }
    }

    private static let timeLimit = TimeAmount.seconds(30)

    func load() async throws -> SignedCheckpoint? {
        let (status, body) = try await send(.GET)
        switch status.code {
        case 200:
            do {
                return try SignedCheckpoint(body)
            } catch {
                throw Failure(description: "\(name) does not hold a checkpoint: \(error)")
            }
        case 404, 410: return nil
        default: throw refusal(.GET, status)
        }
    }

    func save(_ checkpoint: SignedCheckpoint) async throws {
        let (status, _) = try await send(.PUT, checkpoint.text)
        guard (200..<300).contains(status.code) else { throw refusal(.PUT, status) }
        // A success status does not prove that the checkpoint was stored, so it is read back.
        guard let kept = try await load(), kept.text == checkpoint.text else {
            throw Failure(
                description: "\(name) accepted the checkpoint but does not return it: it is not stored there")
        }
    }

    private func refusal(_ method: HTTPMethod, _ status: HTTPResponseStatus) -> Failure {
        let isRedirect = (300..<400).contains(status.code)
        let advice = isRedirect ? ": redirects are not followed; give the final address" : ""
        return Failure(description: "\(name) answers \(method) with \(status)\(advice)")
    }

    /// Sends a request and does not follow redirects: the checkpoint must be stored at this address
    /// and not somewhere else.
    private func send(_ method: HTTPMethod, _ body: String? = nil) async throws -> (HTTPResponseStatus, String) {
        var request = HTTPClientRequest(url: url.revealed)
        request.method = method
        if let authorization { request.headers.add(name: "authorization", value: authorization.revealed) }
        // The stored checkpoint is wanted, not one that a cache remembers.
        request.headers.add(name: "cache-control", value: "no-cache")
        if let body {
            request.headers.add(name: "content-type", value: "text/plain; charset=utf-8")
            request.body = .bytes(ByteBuffer(string: body))
        }
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.connectionPool.retryConnectionEstablishment = false
        do {
            return try await HTTPClient.withHTTPClient(configuration: configuration) { [request] client in
                let response = try await client.execute(request, timeout: Self.timeLimit)
                return (response.status, String(buffer: try await response.body.collect(upTo: SignedNote.mostBytes)))
            }
        } catch let error as CancellationError {
            throw error
        } catch {
            throw Unreachable(description: "\(name) does not answer \(method): \(Self.reason(error))")
        }
    }

    /// The reason as text that shows nothing of what was sent.
    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as HTTPClientError: error.shortDescription
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { reason($0.error) } ?? "the name \(error.host) has no address"
        case let error as IOError: String(cString: strerror(error.errnoCode))
        default: "\(error)"
        }
    }
}
