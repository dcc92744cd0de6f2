/// The JSON form of a recorded event: CloudEvents 1.0, structured mode, on one line.
///
/// Attributes: `id`, `source` (`/jobledger/NAME`), `type` (`io.jobledger.CATEGORY.TYPE`, such as
/// `io.jobledger.job.progress`), `subject` (the stream's id: the job), `time` (when it occurred if
/// known, or else when it was recorded), `datacontenttype`, `data`; extensions `position` (decimal
/// string), `streamversion`, `recordedtime`, `total` (the job's, if known), and from the metadata
/// `actor`, `correlationid`, `causationid`, `traceparent`.
/// If data was left out, `dataref` has the path to fetch it from.
package struct CloudEvent: Sendable {
    /// What the types of all categories begin with.
    package static let typePrefix = "io.jobledger."
    /// What the types of jobs begin with.
    package static let jobTypePrefix = "io.jobledger.job."

    package let event: RecordedEvent
    package let ledger: LedgerName

    package init(_ event: RecordedEvent, of ledger: LedgerName) {
        self.event = event
        self.ledger = ledger
    }

    /// The category and the name of the type in a CloudEvent's `type`; `nil` if it is of something
    /// else than a ledger. Whether the category has such a type is not checked.
    package static func type(of text: String) -> (category: Category, name: String)? {
        // Nearly all events are of jobs.
        if text.hasPrefix(jobTypePrefix) { return (.job, String(text.dropFirst(jobTypePrefix.count))) }
        guard text.hasPrefix(typePrefix) else { return nil }
        let parts = text.dropFirst(typePrefix.count).split(
            separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let category = Category(String(parts[0])) else { return nil }
        return (category, String(parts[1]))
    }

    package var json: [UInt8] {
        var json: [UInt8] = []
        json.reserveCapacity(500 + (event.data?.utf8.count ?? 0))
        append(to: &json)
        return json
    }

    /// Appends ``json``.
    package func append(to json: inout [UInt8]) {
        let data = event.data ?? ""
        json.append(
            cloudEvent: event.id, of: ledger, category: event.category, type: event.type, job: event.job.utf8.span,
            position: event.position, version: event.version, occurredAt: event.occurredAt,
            recordedAt: event.recordedAt, total: event.total,
            metadata: event.metadata.utf8.span, data: data.utf8.span)
    }
}

extension [UInt8] {
    /// Appends a ``CloudEvent`` whose texts are in memory already, because a relay writes millions.
    /// - Parameter data: empty if the data was left out; valid JSON has at least one byte.
    package mutating func append(
        cloudEvent id: EventID, of ledger: LedgerName, category: Category, type: EventType, job: Span<UInt8>,
        position: Position, version: Int32,
        occurredAt: Timestamp?, recordedAt: Timestamp, total: Int32, metadata: Span<UInt8>, data: Span<UInt8>
    ) {
        append(literal: #"{"specversion":"1.0","id":""#)
        id.append(to: &self)
        append(literal: #"","source":"/jobledger/"#)
        append(text: ledger.text)
        append(literal: #"","type":""#)
        append(text: CloudEvent.typePrefix)
        append(text: category.text)
        append(UInt8(ascii: "."))
        append(text: type.rawValue)
        append(literal: #"","subject":"#)
        appendJSON(string: job)
        append(literal: #","time":""#)
        (occurredAt ?? recordedAt).append(to: &self)
        append(literal: #"","position":""#)
        append(number: position)
        append(literal: #"","streamversion":"#)
        append(number: Int64(version))
        append(literal: #","recordedtime":""#)
        recordedAt.append(to: &self)
        append(UInt8(ascii: "\""))
        if total > 0 {
            append(literal: #","total":"#)
            append(number: Int64(total))
        }
        MetadataAttributes.append(of: metadata, to: &self)
        if !data.isEmpty {
            append(literal: #","datacontenttype":"application/json","data":"#)
            append(onOneLine: data)
        } else {
            append(literal: #","dataref":""#)
            appendReference(category, job, version: version)
            append(UInt8(ascii: "\""))
        }
        append(UInt8(ascii: "}"))
    }
}

extension [UInt8] {
    /// Appends `string` as a JSON string.
    package mutating func appendJSON(string: String) { appendJSON(string: string.utf8.span) }
    package mutating func appendJSON(string: ExactText) { appendJSON(string: string.utf8.span) }

    fileprivate mutating func appendJSON(string: Span<UInt8>) {
        append(UInt8(ascii: "\""))
        // Few strings need escapes.
        if string.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) {
            for index in string.indices { append(escaped: string[index]) }
        } else {
            append(string)
        }
        append(UInt8(ascii: "\""))
    }

    private mutating func append(escaped byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            append(UInt8(ascii: "\\"))
            append(byte)
        case 0x0A: append(literal: #"\n"#)
        case 0x0D: append(literal: #"\r"#)
        case 0x09: append(literal: #"\t"#)
        case 0..<0x20:
            append(literal: #"\u00"#)
            append(addingCapacity: 2) { $0.append(hexDigitsOf: byte) }
        default: append(byte)
        }
    }

    /// Replaces line breaks by spaces. In JSON text they occur only between tokens, so the meaning
    /// does not change.
    fileprivate mutating func append(onOneLine json: Span<UInt8>) {
        let start = count
        append(json)
        // A loop without branches, which the compiler vectorises. Nearly all texts have no line
        // breaks.
        var bytes = mutableSpan
        for index in start..<bytes.count {
            let byte = bytes[index]
            bytes[index] = byte == 0x0A || byte == 0x0D ? 0x20 : byte
        }
    }

    /// Appends the path from which the service returns one event of a stream.
    fileprivate mutating func appendReference(_ category: Category, _ id: Span<UInt8>, version: Int32) {
        if category == .job {
            append(literal: "/v1/jobs/")
        } else {
            append(literal: "/v1/streams/")
            append(text: category.text)
            append(UInt8(ascii: "/"))
        }
        appendPercentEncoded(id)
        self += "/events?after=\(version - 1)&limit=1".utf8
    }

    fileprivate mutating func appendPercentEncoded(_ string: Span<UInt8>) {
        for index in string.indices {
            let byte = string[index]
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                append(byte)
            default:
                self += (byte < 16 ? "%0" : "%").utf8
                self += String(byte, radix: 16, uppercase: true).utf8
            }
        }
    }
}

extension Span<UInt8> {
    fileprivate func contains(where predicate: (UInt8) -> Bool) -> Bool {
        for index in indices where predicate(self[index]) { return true }
        return false
    }
}
