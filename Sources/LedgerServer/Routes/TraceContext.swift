import HTTPTypes
import LedgerCore

/// The caller's trace context, from the headers of W3C's Trace Context, for events that have none
/// of their own.
struct TraceContext: Sendable {
    private let members: [UInt8]

    /// `nil` if there is none or it is malformed: a bad trace is no reason to refuse an event.
    init?(_ headers: HTTPFields) {
        guard let parent = headers.first(.traceparent), Self.isWellFormed(parent) else { return nil }
        var members = Array("\"traceparent\":\"\(parent)\"".utf8)
        if let state = headers.first(.tracestate), state.utf8.count <= 512,
            state.utf8.allSatisfy({ (0x20..<0x7F).contains($0) })
        {
            members += ",\"tracestate\":".utf8
            members.appendJSON(string: state)
        }
        self.members = members
    }

    /// `00-<32 hex>-<16 hex>-<2 hex>`, in lower case.
    private static func isWellFormed(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        return parts.map(\.count) == [2, 32, 16, 2]
            && parts.joined().allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    /// Adds the trace to metadata without a `traceparent`. Metadata that is not a JSON object stays
    /// as it is, so that the ledger refuses it.
    func add(to metadata: inout String) {
        let bytes = Array(metadata.utf8)
        guard let present = try? JSONText.slices(of: bytes[...]),
            !present.contains(where: { $0.name == "traceparent" }),
            let start = bytes.firstIndex(of: UInt8(ascii: "{"))
        else { return }
        let separator = present.isEmpty ? [] : Array(",".utf8)
        metadata = String(decoding: bytes[...start] + members + separator + bytes[(start + 1)...], as: UTF8.self)
    }
}
