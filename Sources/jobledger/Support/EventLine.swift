import Foundation
import LedgerCore

/// One line of a file of events.
enum EventLine {
    /// The longest line that can be an event: data, metadata and the rest at their limits.
    static let longest = 9 << 20

    /// What the line asks for; `nil` for an empty line.
    /// - Parameter content: `nil` for a line that was too long to keep.
    /// - Throws: the ``Refusal`` of a line that says nothing the ledger could be asked.
    static func request(_ content: [UInt8]?) throws -> AppendRequest? {
        guard let content else { throw Refusal(.tooLarge, "a line has \(longest) bytes at most") }
        if content.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return nil }
        guard String(validating: content, as: UTF8.self) != nil else { throw Refusal(.invalidEvent, "the line is not UTF-8") }
        let members: [JSONText.Member]
        do {
            members = try JSONText.members(of: content)
        } catch {
            throw Refusal(.invalidEvent, "the line is no JSON object: \(error)")
        }
        var request = AppendRequest(job: "", events: [NewEvent(type: "")])
        var missing: Set<String> = ["job", "type"]
        for (name, value) in members {
            let isNull = value.elementsEqual("null".utf8)
            missing.remove(name)
            switch name {
            case "job": request.job = try text(value, name)
            case "type": request.events[0].type = try text(value, name)
            case "data": request.events[0].data = String(decoding: value, as: UTF8.self)
            case "metadata" where isNull, "event_id" where isNull, "expected_version" where isNull, "occurred_at" where isNull:
                continue
            case "metadata": request.events[0].metadata = String(decoding: value, as: UTF8.self)
            case "event_id":
                guard let id = EventID(uuidString: try text(value, name)) else {
                    throw Refusal(.invalidEvent, "\"event_id\" must be a UUID")
                }
                request.events[0].id = id
            case "expected_version":
                if JSONText.string(from: value) == "none" {
                    request.expectedVersion = 0
                } else if let version = Int32(String(decoding: value, as: UTF8.self)), version >= 0 {
                    request.expectedVersion = version
                } else {
                    throw Refusal(.invalidEvent, "\"expected_version\" must be an integer from 0, or \"none\"")
                }
            case "occurred_at":
                guard let moment = Timestamp(try text(value, name)) else {
                    throw Refusal(.invalidEvent, "\"occurred_at\" must be a time such as 2026-11-23T20:45:00Z")
                }
                request.events[0].occurredAt = moment
            default:
                throw Refusal(
                    .invalidEvent,
                    "unknown member \"\(name)\"; known are job, type, data, event_id, expected_version, metadata, occurred_at")
            }
        }
        guard missing.isEmpty else { throw Refusal(.invalidEvent, "\(missing.sorted().joined(separator: " and ")) missing") }
        return request
    }

    private static func text(_ value: [UInt8], _ name: String) throws(Refusal) -> String {
        guard let text = JSONText.string(from: value) else { throw Refusal(.invalidEvent, "\"\(name)\" must be a text") }
        return text
    }
}

/// The lines of a file, one at a time: memory holds one line, and no more of it than an event can have.
struct LineReader {
    private let handle: FileHandle
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false
    private var number = 0
    private(set) var bytesRead: Int64 = 0

    init(_ handle: FileHandle) { self.handle = handle }

    /// - Returns: `content` is `nil` where the line is longer than an event can be; it has been skipped.
    mutating func next() throws -> (number: Int, content: [UInt8]?, length: Int)? {
        var length = 0
        var isTooLong = false
        while true {
            if let end = buffer[start...].firstIndex(of: 0x0A) {
                defer { start = end + 1 }
                number += 1
                length += end - start
                return (number, isTooLong ? nil : Array(buffer[start..<end]), length)
            }
            if buffer.count - start > EventLine.longest {
                isTooLong = true
                length += buffer.count - start
                start = buffer.count
            }
            if isAtEnd {
                guard start < buffer.count || isTooLong else { return nil }
                defer { start = buffer.count }
                number += 1
                return (number, isTooLong ? nil : Array(buffer[start...]), length + buffer.count - start)
            }
            buffer.removeSubrange(..<start)
            start = 0
            let chunk = try handle.read(upToCount: 1 << 20) ?? Data()
            isAtEnd = chunk.isEmpty
            bytesRead += Int64(chunk.count)
            buffer += chunk
        }
    }
}
