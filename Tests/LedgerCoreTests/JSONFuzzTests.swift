import Foundation
import LedgerCore
import LedgerTesting
import Testing

/// No input may crash the reader, and what it accepts it must have cut correctly.
@Suite struct JSONFuzzTests {
    private static let valid = [
        #"""
        {"type":"progress","job":"a/b","data":{"completed":1.0,"list":[1,-2.5e-3,{"x":null}],\#
        "s":"\u00e9\ud83d\ude00\\"}}
        """#,
        #"{"a":[[],{},[{}],"",0],"b":true,"c":{"d":{"e":{"f":"g"}}}}"#,
        #" { "name" : "Zürich \"quoted\" 👍" , "n" : 123456789012345678901234567890 } "#,
    ]

    /// Every place is within the text, and the members' values follow each other in it.
    private func check(_ bytes: [UInt8], _ comment: @autoclosure () -> String) {
        do throws(JSONText.SyntaxError) {
            var rest = bytes[...]
            for member in try JSONText.members(of: bytes) {
                guard !member.value.isEmpty, let range = rest.firstRange(of: member.value) else {
                    Issue.record("\(comment()): the value of \(member.name) is not in the text")
                    return
                }
                rest = rest[range.upperBound...]
            }
        } catch {
            if !(0...bytes.count).contains(error.place) || error.message.isEmpty {
                Issue.record("\(comment()): \(error)")
            }
        }
    }

    @Test func randomBytes() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let alphabet = Array(#"{}[]":,\u0aeltrfn1-. "#.utf8) + [0x0A, 0x00, 0xFF]
        for round in 0..<20_000 {
            let count = Int.random(in: 0...40, using: &generator)
            let bytes = (0..<count).map { _ in
                round.isMultiple(of: 2)
                    ? UInt8.random(in: 0...255, using: &generator) : alphabet.randomElement(using: &generator)!
            }
            check(Array("{\"".utf8) + bytes, "seed \(seed), round \(round)")
            check(bytes, "seed \(seed), round \(round)")
        }
    }

    @Test func mutations() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for round in 0..<20_000 {
            var bytes = Array(Self.valid.randomElement(using: &generator)!.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
                let place = bytes.indices.randomElement(using: &generator)!
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(bytes.randomElement(using: &generator)!, at: place)
                default: bytes.removeSubrange(place...)
                }
            }
            check(bytes, "seed \(seed), round \(round)")
        }
    }

    @Test func everyBeginningOfAValidTextIsAnError() {
        for text in Self.valid {
            let bytes = Array(text.trimmingCharacters(in: .whitespaces).utf8)
            for count in 0..<bytes.count {
                #expect(throws: JSONText.SyntaxError.self) { try JSONText.members(of: Array(bytes[..<count])) }
            }
        }
    }

    /// Everything that Foundation accepts, we accept, with the same names.
    @Test func foundationAgrees() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            let object = Dictionary(
                (0..<Int.random(in: 0...5, using: &generator)).map { _ in
                    ("k\(UInt8.random(in: 0...255, using: &generator))\"\\é", value(depth: 0, &generator))
                }, uniquingKeysWith: { $1 })
            let data = try JSONSerialization.data(withJSONObject: object)
            let members = try JSONText.members(of: Array(data))
            #expect(Set(members.map(\.name)) == Set(object.keys.map { ExactText($0) }), "seed \(seed)")
            for member in members {
                let back = try JSONSerialization.jsonObject(with: Data(member.value), options: .fragmentsAllowed)
                #expect((back as? NSObject) == (object[member.name.text] as? NSObject), "seed \(seed)")
            }
        }
    }

    private func value(depth: Int, _ generator: inout SeededGenerator) -> Any {
        switch Int.random(in: 0..<(depth < 4 ? 6 : 4), using: &generator) {
        case 0: NSNumber(value: Int32.random(in: .min ... .max, using: &generator))
        case 1: NSString(string: "\u{1}\n\"/\\👍\(UInt16.random(in: 0 ... .max, using: &generator))")
        case 2: NSNumber(value: Bool.random(using: &generator))
        case 3: NSNull()
        case 4:
            NSArray(
                array: (0..<Int.random(in: 0...3, using: &generator)).map { _ in value(depth: depth + 1, &generator) })
        default:
            NSDictionary(dictionary: [
                "a": value(depth: depth + 1, &generator), "b": value(depth: depth + 1, &generator),
            ])
        }
    }
}
