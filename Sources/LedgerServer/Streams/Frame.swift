internal import LedgerCore
internal import NIOCore

/// An event as it goes over the wire to whoever follows: made once, shared by all.
struct Frame: Sendable {
    let position: Position
    let job: String
    let type: EventType
    let recordedAt: Timestamp
    /// `id:` and `data:`, and the empty line that ends them.
    let bytes: ByteBuffer

    /// Larger data are left out, with a reference to where they are.
    static let largestData = 64 << 10

    init(_ event: RecordedEvent, of ledger: LedgerName) {
        var event = event
        if let data = event.data, data.utf8.count > Self.largestData { event.data = nil }
        (position, job, type, recordedAt) = (event.position, event.job, event.type, event.recordedAt)
        var text: [UInt8] = []
        text.reserveCapacity(600 + (event.data?.utf8.count ?? 0))
        text += "id: \(event.position)\ndata: ".utf8
        // One line: a CloudEvent has no line breaks.
        CloudEvent(event, of: ledger).append(to: &text)
        text += "\n\n".utf8
        bytes = ByteBuffer(bytes: text)
    }
}
