import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import TransparencyLog

/// A checkpoint at an address that takes GET and PUT.
struct CheckpointAddress: WitnessMemory {
    let url: String
    /// The header of this name.
    let authorization: String?

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
                throw Failure(description: "\(url) has something else than a checkpoint: \(error)")
            }
        case 404, 410: return nil
        default: throw Failure(description: "\(url) answers GET with \(response.status)")
        }
    }

    func save(_ checkpoint: SignedCheckpoint) async throws {
        var request = request(.PUT)
        request.headers.add(name: "content-type", value: "text/plain; charset=utf-8")
        request.body = .bytes(ByteBuffer(string: checkpoint.text))
        let response = try await HTTPClient.shared.execute(request, timeout: Self.timeLimit)
        guard (200..<300).contains(response.status.code) else {
            throw Failure(description: "\(url) answers PUT with \(response.status)")
        }
    }

    private func request(_ method: HTTPMethod) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url)
        request.method = method
        if let authorization { request.headers.add(name: "authorization", value: authorization) }
        return request
    }
}
