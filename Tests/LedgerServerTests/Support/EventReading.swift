import AsyncHTTPClient
import Foundation
import LedgerCore
import LedgerTesting
import NIOCore

/// An event stream as a client reads it, by the HTML standard: `id:`, `data:`, `retry:` and
/// comments.
struct EventReading {
    struct Message: Sendable, Equatable {
        var id: String
        var data: String
        /// The kind of the message; empty for an event of the log.
        var name = ""
        var position: Int64 { Place(id)?.position ?? -1 }
        var json: JSON { JSON((try? JSONSerialization.jsonObject(with: Data(data.utf8))) ?? NSNull()) }
        var type: String { json["type"].text?.split(separator: ".").last.map(String.init) ?? "" }
        var job: String { json["subject"].text ?? "" }
    }

    let status: Int
    let type: String?
    private var iterator: HTTPClientResponse.Body.AsyncIterator
    private var rest: [UInt8] = []
    private(set) var comments = 0
    private(set) var retries: [Int] = []
    private var message = Message(id: "", data: "")
    private(set) var lastID = ""

    init(status: Int, type: String?, body: HTTPClientResponse.Body) {
        self.status = status
        self.type = type
        iterator = body.makeAsyncIterator()
    }

    /// The next message; `nil` at the end.
    mutating func next() async throws -> Message? {
        while let line = try await line() {
            if line.isEmpty {
                guard !message.data.isEmpty else { continue }
                defer { message = Message(id: lastID, data: "") }
                return message
            } else if line.hasPrefix(":") {
                comments += 1
            } else if line.hasPrefix("event: ") {
                message.name = String(line.dropFirst(7))
            } else if line.hasPrefix("id: ") {
                lastID = String(line.dropFirst(4))
                message.id = lastID
            } else if line.hasPrefix("data: ") {
                message.data += line.dropFirst(6)
            } else if line.hasPrefix("retry: ") {
                retries.append(Int(line.dropFirst(7)) ?? -1)
            } else {
                throw NeverHappened(question: "no line of an unknown kind: \(line)", limit: .zero)
            }
        }
        return nil
    }

    mutating func next(_ count: Int) async throws -> [Message] {
        var messages: [Message] = []
        while messages.count < count, let message = try await next() { messages.append(message) }
        return messages
    }

    /// Reads until `count` comments have arrived, and no message before them.
    mutating func skip(comments count: Int) async throws {
        let goal = comments + count
        while comments < goal {
            guard let line = try await line(), line.isEmpty || line.hasPrefix(":") || line.hasPrefix("retry: ") else {
                throw NeverHappened(question: "\(count) comments", limit: .zero)
            }
            if line.hasPrefix(":") { comments += 1 }
        }
    }

    /// All messages that are left.
    mutating func all() async throws -> [Message] { try await next(.max) }

    private mutating func line() async throws -> String? {
        while true {
            if let end = rest.firstIndex(of: 0x0A) {
                defer { rest.removeSubrange(...end) }
                return String(decoding: rest[..<end], as: UTF8.self)
            }
            guard let chunk = try await iterator.next() else { return nil }
            rest += chunk.readableBytesView
        }
    }
}
