import Foundation
import LedgerCore
import LedgerTesting
import Testing

/// Plain metadata takes a fast path into the CloudEvent, with the same result as the general path.
@Suite struct MetadataAttributesTests {
    private static let shown: [(ExactText, String)] = [
        ("actor", "actor"), ("correlation_id", "correlationid"), ("causation_id", "causationid"),
        ("traceparent", "traceparent"),
    ]

    /// The result by ``JSONText``, the simple way.
    private func expected(_ metadata: String) -> String {
        guard let members = try? JSONText.members(of: metadata) else { return "" }
        return Self.shown.reduce(into: "") { text, name in
            guard let value = members.last(where: { $0.name == name.0 })?.value, value.first == UInt8(ascii: "\"")
            else { return }
            text += ",\"\(name.1)\":\(String(decoding: value, as: UTF8.self))"
        }
    }

    private func shown(_ metadata: String) throws -> String {
        let event = RecordedEvent(
            position: 1, id: UUID(), job: "j", version: 1, type: .queued, data: nil, metadata: metadata,
            recordedAt: Timestamp(microseconds: 0))
        let text = String(decoding: CloudEvent(event, of: .standard).json, as: UTF8.self)
        let start = try #require(text.firstRange(of: #""recordedtime":"1970-01-01T00:00:00Z""#)).upperBound
        let end = try #require(text.range(of: #","dataref":"#, options: .backwards)).lowerBound
        return String(text[start..<end])
    }

    @Test func bothWaysAgree() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let names = [
            "actor", "correlation_id", "causation_id", "traceparent", "own", "", #"\u0061ctor"#, "Actor", "actors", "é",
            #"a\"b"#,
        ]
        let values = [
            #""ada""#, #""""#, #""Zoë \"Z\" \\ \u00e9""#, #""c-1, {x}: [y]""#, "7", "null", "true",
            #"{"actor":"inner"}"#,
            #"["a"]"#,
        ]
        let spaces = ["", "", "", " ", "\n", "\t "]
        func any(_ texts: [String]) -> String { texts[Int(random.below(UInt64(texts.count)))] }
        for _ in 0..<5_000 {
            let members = (0..<random.below(6)).map { _ in
                any(spaces) + "\"\(any(names))\"" + any(spaces) + ":" + any(spaces)
                    + (random.below(4) == 0 ? any(values) : any(Array(values[..<4]))) + any(spaces)
            }
            var metadata = any(spaces) + "{" + any(spaces) + members.joined(separator: ",") + "}" + any(spaces)
            // Some of them are broken, which never occurs in the ledger.
            if random.below(5) == 0 {
                var bytes = Array(metadata.utf8)
                let place = Int(random.below(UInt64(bytes.count)))
                if random.below(2) == 0 {
                    bytes.remove(at: place)
                } else {
                    bytes[place] = Array(#"{}":,\ x"#.utf8)[Int(random.below(8))]
                }
                metadata = String(decoding: bytes, as: UTF8.self)
            }
            #expect(try shown(metadata) == expected(metadata), "\(metadata); seed \(seed)")
        }
    }
}
