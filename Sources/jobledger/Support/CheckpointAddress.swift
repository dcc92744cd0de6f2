import ArgumentParser
import AsyncHTTPClient
import Foundation
import LedgerCore
import NIOCore
import NIOHTTP1
import NIOPosix
import TransparencyLog

/// A checkpoint at an address that takes GET and PUT.
struct CheckpointAddress: WitnessMemory {
    /// It may hold a token.
    let url: SecretText
    /// The same without what may be secret: its scheme, host and path.
    let name: String
    /// The header of this name.
    let authorization: SecretText?

    /// Whether somebody means an address by it, in whatever form: everything that begins like one.
    /// A path that does begins with `./` instead.
    static func isMeant(by place: String) -> Bool {
        let place = place.drop { $0.isWhitespace }
        return place.prefixMatch(of: /[A-Za-z][A-Za-z0-9+.\-]*:/) != nil || place.hasPrefix("//")
            || place.contains("://")
    }

    /// - Throws: ``ValidationError`` for what is no address, without showing it.
    init(_ url: String, authorization: SecretText?) throws {
        guard let parts = URLComponents(string: url), let scheme = parts.scheme?.lowercased(),
            ["http", "https"].contains(scheme),
            let host = parts.host, !host.isEmpty
        else {
            throw ValidationError(
                "the address to anchor at, which is not shown here, is malformed: it is like https://archive.example/ledger/checkpoint. A file whose name begins like an address is ./NAME."
            )
        }
        guard parts.user == nil, parts.password == nil else {
            throw ValidationError(
                "an address with a user or password would send them to nobody: set JOBLEDGER_ANCHOR_AUTHORIZATION to the header instead."
            )
        }
        self.url = SecretText(url)
        self.authorization = authorization
        name = "\(scheme)://\(host)\(parts.port.map { ":\($0)" } ?? "")\(parts.path)"
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// It does not answer: another attempt may succeed.
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
                throw Failure(description: "\(name) has something else than a checkpoint: \(error)")
            }
        case 404, 410: return nil
        default: throw refusal(.GET, status)
        }
    }

    func save(_ checkpoint: SignedCheckpoint) async throws {
        let (status, _) = try await send(.PUT, checkpoint.text)
        guard (200..<300).contains(status.code) else { throw refusal(.PUT, status) }
        // An answer is no keeping.
        guard let kept = try await load(), kept.text == checkpoint.text else {
            throw Failure(description: "\(name) took the checkpoint, and does not give it back: it is not kept there")
        }
    }

    private func refusal(_ method: HTTPMethod, _ status: HTTPResponseStatus) -> Failure {
        let isRedirect = (300..<400).contains(status.code)
        let wayOut = isRedirect ? ": a redirect, which is not followed: name the address itself" : ""
        return Failure(description: "\(name) answers \(method) with \(status)\(wayOut)")
    }

    /// Without following a redirect: what is kept elsewhere, or nowhere, is not kept here.
    private func send(_ method: HTTPMethod, _ body: String? = nil) async throws -> (HTTPResponseStatus, String) {
        var request = HTTPClientRequest(url: url.revealed)
        request.method = method
        if let authorization { request.headers.add(name: "authorization", value: authorization.revealed) }
        // What a cache remembers is not what is kept.
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

    /// In words, and with nothing of what was sent.
    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as HTTPClientError: error.shortDescription
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { reason($0.error) } ?? "no address is known of \(error.host)"
        case let error as IOError: String(cString: strerror(error.errnoCode))
        default: "\(error)"
        }
    }
}
