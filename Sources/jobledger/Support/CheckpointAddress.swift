import ArgumentParser
import AsyncHTTPClient
import Foundation
import LedgerCore
import NIOCore
import NIOHTTP1
import TransparencyLog

/// A checkpoint at an address that takes GET and PUT.
struct CheckpointAddress: WitnessMemory {
    /// It may hold a token.
    let url: SecretText
    /// The same without what may be secret: its scheme, host and path.
    let name: String
    /// The header of this name.
    let authorization: SecretText?

    /// - Throws: ``ValidationError`` for what is no address, without showing it.
    init(_ url: String, authorization: SecretText?) throws {
        guard let parts = URLComponents(string: url), let scheme = parts.scheme, let host = parts.host, !host.isEmpty else {
            throw ValidationError("the address to anchor at is malformed: it is like https://archive.example/ledger/checkpoint.")
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

    private static let timeLimit = TimeAmount.seconds(30)

    func load() async throws -> SignedCheckpoint? {
        let response = try await HTTPClient.shared.execute(request(.GET), timeout: Self.timeLimit)
        let body = try await response.body.collect(upTo: SignedNote.mostBytes)
        switch response.status.code {
        case 200:
            do {
                return try SignedCheckpoint(String(buffer: body))
            } catch {
                throw Failure(description: "\(name) has something else than a checkpoint: \(error)")
            }
        case 404, 410: return nil
        default: throw Failure(description: "\(name) answers GET with \(response.status)")
        }
    }

    func save(_ checkpoint: SignedCheckpoint) async throws {
        var request = request(.PUT)
        request.headers.add(name: "content-type", value: "text/plain; charset=utf-8")
        request.body = .bytes(ByteBuffer(string: checkpoint.text))
        let response = try await HTTPClient.shared.execute(request, timeout: Self.timeLimit)
        guard (200..<300).contains(response.status.code) else {
            throw Failure(description: "\(name) answers PUT with \(response.status)")
        }
    }

    private func request(_ method: HTTPMethod) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url.revealed)
        request.method = method
        if let authorization { request.headers.add(name: "authorization", value: authorization.revealed) }
        return request
    }
}
