import BlockingIO
import Foundation
import LedgerTesting

/// A connection on which a test sends any bytes it likes.
final class RawConnection: Sendable {
    private let descriptor: Int32
    private let isClosed = Locked(false)
    private let executor = DispatchQueue(label: "raw-connection")

    /// - Parameter receiveBuffer: how many bytes may wait here to be read.
    init(_ url: String, receiveBuffer: Int32? = nil) throws {
        guard let components = URLComponents(string: url), let port = components.port else { throw POSIXError(.EINVAL) }
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        // connect(2) takes a sockaddr_in as a sockaddr, and the pointer is valid during the call.
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        // No answer may take longer than this.
        var timeout = timeval(tv_sec: 120, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close() }

    func close() {
        let first = isClosed.withLock { isClosed in
            defer { isClosed = true }
            return !isClosed
        }
        if first { Foundation.close(descriptor) }
    }

    /// Drops the connection as a machine that loses power does: the other side gets a reset, and
    /// nothing that is still on its way.
    func reset() {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    /// Closes this side's output.
    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
            rest = rest.dropFirst(count)
        }
    }

    /// - Returns: how many bytes arrived; 0 at the end, and if the other side has dropped the
    ///   connection.
    func receive(atMost most: Int) async throws -> Int {
        try await withCheckedThrowingContinuation { continuation in
            executor.async {
                var buffer = [UInt8](repeating: 0, count: most)
                let count = recv(self.descriptor, &buffer, most, 0)
                if count >= 0 || errno == ECONNRESET {
                    continuation.resume(returning: max(0, count))
                } else {
                    continuation.resume(throwing: POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO))
                }
            }
        }
    }

    /// What the other side sends, up to its end or until it contains `mark`.
    func answer(until mark: String? = nil) async throws -> String {
        // Reading blocks, so it runs outside the cooperative threads.
        try await withCheckedThrowingContinuation { continuation in
            executor.async { continuation.resume(with: Result { try self.read(until: mark) }) }
        }
    }

    private func read(until mark: String?) throws -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            if let mark, String(decoding: bytes, as: UTF8.self).contains(mark) { break }
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0, errno == ECONNRESET { break }
            guard count >= 0 else {
                throw NeverHappened(
                    question: "an answer; so far: \(String(decoding: bytes, as: UTF8.self))", limit: .seconds(120))
            }
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Requests as text, for a ``RawConnection``.
enum RawRequest {
    static let livez = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"

    /// - Parameter fields: further header fields.
    static func get(_ path: String, _ token: String, _ fields: String...) -> String {
        head("GET \(path)", token, fields)
    }

    /// The head of an append to the job `a`.
    /// - Parameter fields: further header fields.
    static func append(_ token: String, _ fields: String...) -> String {
        head("POST /v1/jobs/a/events", token, ["content-type: application/json"] + fields)
    }

    private static func head(_ request: String, _ token: String, _ fields: [String]) -> String {
        let lines = ["\(request) HTTP/1.1", "host: x", "authorization: Bearer \(token)"] + fields + ["", ""]
        return lines.joined(separator: "\r\n")
    }
}
