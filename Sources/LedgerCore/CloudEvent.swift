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
        json += #"{"specversion":"1.0","id":""#.utf8
        event.id.append(to: &json)
        json += #"","source":"/jobledger/"#.utf8
        json += ledger.text.utf8
        json += #"","type":""#.utf8
        json += Self.typePrefix.utf8
        json += event.type.rawValue.utf8
        json += #"","subject":"#.utf8
        json.appendJSON(string: event.job)
        json += #","time":""#.utf8
        (event.occurredAt ?? event.recordedAt).append(to: &json)
        json += #"","position":""#.utf8
        json.append(number: event.position)
        json += #"","streamversion":"#.utf8
        json.append(number: Int64(event.version))
        json += #","recordedtime":""#.utf8
        event.recordedAt.append(to: &json)
        json.append(UInt8(ascii: "\""))
        MetadataAttributes.append(of: event.metadata, to: &json)
        if let data = event.data {
            json += #","datacontenttype":"application/json","data":"#.utf8
            json.append(onOneLine: data)
        } else {
            json += #","dataref":"/v1/jobs/"#.utf8
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
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                append(UInt8(ascii: "\\"))
                append(byte)
            case 0x0A: self += #"\n"#.utf8
            case 0x0D: self += #"\r"#.utf8
            case 0x09: self += #"\t"#.utf8
            case 0..<0x20:
                self += #"\u00"#.utf8
                append(hexDigitsOf: byte)
            default: append(byte)
            }
        }
        append(UInt8(ascii: "\""))
    }

    fileprivate mutating func append(number: Int64) {
        if number < 0 { append(UInt8(ascii: "-")) }
        append(digitsOf: number.magnitude)
    }

    /// A line break in JSON text stands between tokens, never inside one: a space in its place changes nothing.
    fileprivate mutating func append(onOneLine text: String) {
        let start = count
        self += text.utf8
        for index in start..<count where self[index] == 0x0A || self[index] == 0x0D { self[index] = 0x20 }
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
