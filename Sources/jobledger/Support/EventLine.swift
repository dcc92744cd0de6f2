import Foundation
import LedgerCore

/// One line of a file of events: a JSON object that describes one event.
enum EventLine {
    /// The longest line, in bytes, that can hold an event: data, metadata and the rest at their
    /// limits.
    static let longest = AppendLimits.bytesOfData + (1 << 20)

    /// The request that the line describes; `nil` for an empty line.
    /// - Parameter content: `nil` for a line that was too long to keep in memory.
    /// - Throws: a ``Refusal`` if the line does not describe an event.
    static func request(_ content: ArraySlice<UInt8>?) throws(Refusal) -> AppendRequest? {
        guard let content else {
            throw Refusal(
                .tooLarge,
                "the line has more than \(longest) bytes, which is more than the limits of data and metadata allow")
        }
        if content.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return nil }
        do {
            return try parse(content)
        } catch {
            // If the line is not UTF-8, every other error follows from that: report this one.
            guard String(utf8: content) != nil else {
                throw Refusal(.invalidEvent, "the line is not UTF-8: save the file as UTF-8, or convert it with iconv")
            }
            throw error
        }
    }

    private static func parse(_ content: ArraySlice<UInt8>) throws(Refusal) -> AppendRequest {
        let members: [JSONText.Slice]
        do {
            members = try JSONText.slices(of: content)
        } catch {
            throw Refusal(.invalidEvent, "the line is not a JSON object: \(error)")
        }
        let sent = try SentEvent(members: members, in: "the line", needsJob: true)
        return AppendRequest(
            category: sent.category ?? .job, job: sent.job ?? "", events: [sent.event],
            expectedVersion: sent.expectedVersion)
    }
}
