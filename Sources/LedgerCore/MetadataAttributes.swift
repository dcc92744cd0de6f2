/// The members of an event's metadata that a CloudEvent has, under names that CloudEvents allows.
enum MetadataAttributes {
    /// By their names in the metadata. Members that are not strings are left out.
    static let shown: [(name: ExactText, attribute: String)] = [
        ("actor", "actor"), ("correlation_id", "correlationid"), ("causation_id", "causationid"),
        ("traceparent", "traceparent"),
    ]

    /// Appends `,"actor":"…"` and so on to an unfinished object.
    static func append(of metadata: Span<UInt8>, to json: inout [UInt8]) {
        // Most metadata is `{}`.
        if metadata.count == 2 { return }
        let metadata = metadata.withUnsafeBufferPointer { Array($0) }
        if appendPlain(metadata, to: &json) { return }
        // The ledger accepts only JSON objects as metadata. If there were one that we cannot read,
        // its event must still be published, so it is published without these attributes instead of
        // stopping the relay for everybody.
        guard let members = try? JSONText.members(of: metadata) else { return }
        for (name, attribute) in shown {
            // The last of several members of one name counts, as it does for jsonb.
            guard let value = members.last(where: { $0.name == name })?.value, value.first == UInt8(ascii: "\"") else {
                continue
            }
            json += ",\"\(attribute)\":".utf8
            json += value
        }
    }

    /// The same for nearly all metadata: one object of strings with plain names. It builds no
    /// arrays.
    /// - Returns: false, with nothing appended, for any other text.
    private static func appendPlain(_ metadata: [UInt8], to json: inout [UInt8]) -> Bool {
        var values = InlineArray<4, Range<Int>?>(repeating: nil)
        var object = PlainObject(bytes: metadata)
        guard object.skip("{") else { return false }
        if !object.skip("}") {
            repeat {
                guard let name = object.string(), object.skip(":"), let value = object.string() else { return false }
                switch object.bytes[name] {
                case names[0][...]: values[0] = value
                case names[1][...]: values[1] = value
                case names[2][...]: values[2] = value
                case names[3][...]: values[3] = value
                // A name may be spelled with escapes.
                case let other where other.contains(UInt8(ascii: "\\")): return false
                default: break
                }
            } while object.skip(",")
            guard object.skip("}") else { return false }
        }
        guard object.isAtEnd else { return false }
        for index in values.indices {
            guard let value = values[index] else { continue }
            json += openings[index]
            json += object.bytes[value]
            json.append(UInt8(ascii: "\""))
        }
        return true
    }

    private static let names = shown.map { Array($0.0.utf8) }
    private static let openings = shown.map { Array(",\"\($0.1)\":\"".utf8) }
}

/// Walks over the bytes of an object of strings.
private struct PlainObject {
    let bytes: [UInt8]
    private var place = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { place == bytes.count }

    private mutating func skipSpace() {
        while place < bytes.count,
            bytes[place] == 0x20 || bytes[place] == 0x0A || bytes[place] == 0x0D || bytes[place] == 0x09
        {
            place += 1
        }
    }

    /// Skips `character` and the space around it.
    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard place < bytes.count, bytes[place] == UInt8(ascii: character) else { return false }
        place += 1
        skipSpace()
        return true
    }

    /// The range of the string that begins here, without its quotes; `nil` if there is none.
    mutating func string() -> Range<Int>? {
        guard place < bytes.count, bytes[place] == UInt8(ascii: "\"") else { return nil }
        let start = place + 1
        var end = start
        while end < bytes.count, bytes[end] != UInt8(ascii: "\"") {
            if bytes[end] < 0x20 { return nil }
            end += bytes[end] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard end < bytes.count else { return nil }
        place = end + 1
        return start..<end
    }
}
