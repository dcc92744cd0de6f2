import Foundation
import LedgerCore
import LedgerTesting
import Testing

@Suite struct JSONStringTests {
    @Test(arguments: [
        (#""""#, ""), (#""abc""#, "abc"), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"),
        (#""\u0041\u00e9\u6F22""#, "Aé漢"),
        (#""\ud83d\ude00""#, "😀"), (#""\uDBFF\uDFFF""#, "\u{10FFFF}"), (#""😀é""#, "😀é"), (#""\u0000""#, "\0"),
        (#""\\u0041""#, #"\u0041"#),
        (#""\ufffe\uffff""#, "\u{FFFE}\u{FFFF}"),
    ])
    func strings(literal: String, expected: String) {
        #expect(JSONText.string(from: Array(literal.utf8)).map { Array($0.utf8) } == Array(expected.utf8))
    }

    @Test(arguments: [
        "", "\"", "abc", "\"abc", "abc\"", #""\""#, #""abc\""#, #""\q""#, #""\u""#, #""\u12""#, #""\u12g4""#,
        #""\U0041""#,
        #""\ud83d""#, #""\ud83dx""#, #""\ud83d\n""#, #""\ud83d\u0041""#, #""\ude00""#, #""\ude00\ud83d""#,
        #""\ud83d\ud83d""#,
        #""\u+041""#, #""\u-000""#, #""\u 041""#, #""a"b""#, "\"\n\"", "\"\u{1F}\"",
    ])
    func nonsense(literal: String) { #expect(JSONText.string(from: Array(literal.utf8)) == nil) }

    @Test func brokenUTF8IsNoString() {
        for bytes: [UInt8] in [[0x80], [0xC3], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF]] {
            #expect(JSONText.string(from: [0x22] + bytes + [0x22]) == nil)
        }
    }

    /// Strings that we write are read back by us and by Foundation.
    @Test func writingAndReading() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for round in 0..<3_000 {
            let limit: UInt32 = round.isMultiple(of: 2) ? 0x10FFFF : 0x7F
            let scalars = (0..<Int.random(in: 0...30, using: &generator)).map { _ in
                Unicode.Scalar(UInt32.random(in: 0...limit, using: &generator)) ?? "\\"
            }
            let text = String(String.UnicodeScalarView(scalars))
            var literal: [UInt8] = []
            literal.appendJSON(string: text)
            #expect(JSONText.string(from: literal).map { Array($0.utf8) } == Array(text.utf8), "seed \(seed)")
            let foundations = try JSONDecoder().decode([String].self, from: Data([0x5B] + literal + [0x5D]))
            #expect(foundations.map { Array($0.utf8) } == [Array(text.utf8)], "seed \(seed)")
            #expect(!literal.contains { $0 < 0x20 }, "seed \(seed)")
        }
    }
}
