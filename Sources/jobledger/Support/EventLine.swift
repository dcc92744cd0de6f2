import Foundation
import LedgerCore

/// One line of a file of events.
enum EventLine {
    /// The longest line that can be an event: data, metadata and the rest at their limits.
    static let longest = 9 << 20

    /// What the line asks for; `nil` for an empty line.
    /// - Parameter content: `nil` for a line that was too long to keep.
    /// - Throws: the ``Refusal`` of a line that says nothing the ledger could be asked.
    static func request(_ content: ArraySlice<UInt8>?) throws(Refusal) -> AppendRequest? {
        guard let content else { throw Refusal(.tooLarge, "a line has \(longest) bytes at most") }
        if content.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return nil }
        do {
            return try parse(content)
        } catch {
            // Whatever else is wrong with it follows from this.
            guard String(utf8: content) != nil else { throw Refusal(.invalidEvent, "the line is not UTF-8") }
            throw error
        }
    }

    private static func parse(_ content: ArraySlice<UInt8>) throws(Refusal) -> AppendRequest {
        let members: [(name: String, value: ArraySlice<UInt8>)]
        do {
            members = try JSONText.slices(of: content)
        } catch {
            throw Refusal(.invalidEvent, "the line is no JSON object: \(error)")
        }
        var (job, type): (String?, String?)
        var (data, metadata) = ("{}", "{}")
        var id: EventID?
        var (version, moment): (Int32?, Timestamp?)
        for (name, value) in members {
            let isNull = value.elementsEqual("null".utf8)
            switch name {
            case "job": job = try string(value, name)
            case "type": type = try string(value, name)
            case "data": data = try json(value)
            case "metadata" where isNull, "event_id" where isNull, "expected_version" where isNull, "occurred_at" where isNull:
                continue
            case "metadata": metadata = try json(value)
            case "event_id":
                id = EventID(text: try string(value, name))
                if id == nil { throw Refusal(.invalidEvent, "\"event_id\" must be a UUID") }
            case "expected_version":
                version = JSONText.string(from: value) == "none" ? 0 : Int32(String(decoding: value, as: UTF8.self))
                if version ?? -1 < 0 {
                    throw Refusal(.invalidEvent, "\"expected_version\" must be an integer from 0, or \"none\"")
                }
            case "occurred_at":
                moment = Timestamp(try string(value, name))
                if moment == nil {
                    throw Refusal(.invalidEvent, "\"occurred_at\" must be a time such as 2026-11-23T20:45:00Z")
                }
            default:
                throw Refusal(
                    .invalidEvent,
                    "unknown member \"\(name)\"; known are job, type, data, event_id, expected_version, metadata, occurred_at")
            }
        }
        guard let job, let type else {
            let missing = [job == nil ? "job" : nil, type == nil ? "type" : nil].compactMap { $0 }
            throw Refusal(.invalidEvent, "\(missing.joined(separator: " and ")) missing")
        }
        let event = NewEvent(type: type, data: data, metadata: metadata, id: id ?? .version7(), occurredAt: moment)
        return AppendRequest(job: job, events: [event], expectedVersion: version)
    }

    private static func string(_ value: ArraySlice<UInt8>, _ name: String) throws(Refusal) -> String {
        guard let text = JSONText.string(from: value) else { throw Refusal(.invalidEvent, "\"\(name)\" must be a text") }
        return text
    }

    /// A value as it stands there.
    private static func json(_ value: ArraySlice<UInt8>) throws(Refusal) -> String {
        guard let text = String(utf8: value) else { throw Refusal(.invalidEvent, "the line is not UTF-8") }
        return text
    }
}
