/// The JSON form of a recorded event: CloudEvents 1.0, structured mode, on one line.
///
/// Attributes: `id`, `source` (`/jobledger/NAME`), `type` (`io.jobledger.job.progress`), `subject` (the job), `time` (when it
/// occurred, otherwise when it was recorded), `datacontenttype`, `data`; extensions `position` (decimal string),
/// `streamversion`, `recordedtime`, and from the metadata `actor`, `correlationid`, `causationid`, `traceparent`.
/// Data that was left out is replaced by `dataref`, where it can be fetched.
public struct CloudEvent: Sendable {
    public static let typePrefix = "io.jobledger.job."

    /// The attributes that metadata give, by the names that they have there.
    private static let fromMetadata = [
        ("actor", "actor"), ("correlation_id", "correlationid"), ("causation_id", "causationid"), ("traceparent", "traceparent"),
    ]

    public let event: RecordedEvent
    public let ledger: LedgerName

    public init(_ event: RecordedEvent, of ledger: LedgerName) {
        self.event = event
        self.ledger = ledger
    }

    public var json: [UInt8] {
        var json: [UInt8] = []
        json.reserveCapacity(400 + (event.data?.utf8.count ?? 0))
        json += #"{"specversion":"1.0","id":""#.utf8
        json += event.id.text.utf8
        json += #"","source":"/jobledger/"#.utf8
        json += ledger.text.utf8
        json += #"","type":""#.utf8
        json += Self.typePrefix.utf8
        json += event.type.rawValue.utf8
        json += #"","subject":"#.utf8
        json.appendJSON(string: event.job)
        json += #","time":""#.utf8
        json += (event.occurredAt ?? event.recordedAt).description.utf8
        json += #"","position":""#.utf8
        json += String(event.position).utf8
        json += #"","streamversion":"#.utf8
        json += String(event.version).utf8
        json += #","recordedtime":""#.utf8
        json += event.recordedAt.description.utf8
        json += #"""#.utf8
        if event.metadata != "{}" { appendMetadata(to: &json) }
        if let data = event.data {
            json += #","datacontenttype":"application/json","data":"#.utf8
            // A line break in JSON text stands between tokens, never inside one: a space in its place changes nothing.
            json += data.utf8.lazy.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 }
        } else {
            json += #","dataref":"/v1/jobs/"#.utf8
            json.appendPercentEncoded(event.job)
            json += "/events?after=\(event.version - 1)&limit=1\"".utf8
        }
        json.append(UInt8(ascii: "}"))
        return json
    }

    private func appendMetadata(to json: inout [UInt8]) {
        // The ledger lets nothing else in than JSON objects. Were there one that we cannot read, its event must still be published:
        // it goes without these attributes, rather than stop the relay for everybody.
        guard let members = try? JSONText.members(of: event.metadata) else { return }
        for (name, attribute) in Self.fromMetadata {
            // The last of several members of one name counts, as it does for jsonb.
            guard let value = members.last(where: { $0.name == name })?.value, value.first == UInt8(ascii: "\"") else { continue }
            json += ",\"\(attribute)\":".utf8
            json += value
        }
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
                self += (byte < 16 ? "0" : "").utf8
                self += String(byte, radix: 16).utf8
            default: append(byte)
            }
        }
        append(UInt8(ascii: "\""))
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
