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
        guard let content else {
            throw Refusal(
                .tooLarge,
                "the line has more than \(longest) bytes, which no event has: data may have 8 MiB, metadata 64 KiB")
        }
        if content.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return nil }
        do {
            return try parse(content)
        } catch {
            // Whatever else is wrong with it follows from this.
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
            throw Refusal(.invalidEvent, "the line is no JSON object: \(error)")
        }
        let sent = try SentEvent(members: members, in: "the line", needsJob: true)
        return AppendRequest(job: sent.job ?? "", events: [sent.event], expectedVersion: sent.expectedVersion)
    }
}
