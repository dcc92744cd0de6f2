/// The JSON form of a recorded event: CloudEvents 1.0, structured mode, on one line.
///
/// Attributes: `id`, `source` (`/jobledger/NAME`), `type` (`io.jobledger.job.progress`), `subject` (the job), `time` (when it
/// occurred, otherwise when it was recorded), `datacontenttype`, `data`; extensions `position` (decimal string),
/// `streamversion`, `recordedtime`, and from the metadata `actor`, `correlationid`, `causationid`, `traceparent`.
/// Data that was left out is replaced by `dataref`, where it can be fetched.
public struct CloudEvent: Sendable {
    public static let typePrefix = "io.jobledger.job."

    public let event: RecordedEvent
    public let ledger: LedgerName

    public init(_ event: RecordedEvent, of ledger: LedgerName) {
        self.event = event
        self.ledger = ledger
    }

    public var json: [UInt8] {
        var json: [UInt8] = []
        json.reserveCapacity(500 + (event.data?.utf8.count ?? 0))
        append(to: &json)
        return json
    }

    /// Appends ``json``: a caller with many events keeps one buffer for all of them.
    public func append(to json: inout [UInt8]) {
        json.append(literal: #"{"specversion":"1.0","id":""#)
        event.id.append(to: &json)
        json.append(literal: #"","source":"/jobledger/"#)
        json.append(text: ledger.text)
        json.append(literal: #"","type":""#)
        json.append(text: Self.typePrefix)
        json.append(text: event.type.rawValue)
        json.append(literal: #"","subject":"#)
        json.appendJSON(string: event.job)
        json.append(literal: #","time":""#)
        (event.occurredAt ?? event.recordedAt).append(to: &json)
        json.append(literal: #"","position":""#)
        json.append(number: event.position)
        json.append(literal: #"","streamversion":"#)
        json.append(number: Int64(event.version))
        json.append(literal: #","recordedtime":""#)
        event.recordedAt.append(to: &json)
        json.append(UInt8(ascii: "\""))
        MetadataAttributes.append(of: event.metadata, to: &json)
        if let data = event.data {
            json.append(literal: #","datacontenttype":"application/json","data":"#)
            json.append(onOneLine: data)
        } else {
            json.append(literal: #","dataref":"/v1/jobs/"#)
            json.appendPercentEncoded(event.job)
            json += "/events?after=\(event.version - 1)&limit=1\"".utf8
        }
        json.append(UInt8(ascii: "}"))
    }
}

extension [UInt8] {
    /// Appends `string` as a JSON string.
    public mutating func appendJSON(string: String) {
        append(UInt8(ascii: "\""))
        let start = count
        append(text: string)
        // Few strings need an escape; those that do are written again.
        if self[start...].contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) {
            removeSubrange(start...)
            for byte in string.utf8 { append(escaped: byte) }
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

    /// A line break in JSON text stands between tokens, never inside one: a space in its place changes nothing.
    fileprivate mutating func append(onOneLine json: String) {
        let start = count
        append(text: json)
        // All of them without a look at each other, several at a time: text without breaks is what there nearly always is.
        var bytes = mutableSpan
        for index in start..<bytes.count {
            let byte = bytes[index]
            bytes[index] = byte == 0x0A || byte == 0x0D ? 0x20 : byte
        }
    }

    fileprivate mutating func appendPercentEncoded(_ string: String) {
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                append(byte)
            default:
                self += (byte < 16 ? "%0" : "%").utf8
                self += String(byte, radix: 16, uppercase: true).utf8
            }
        }
    }
}
