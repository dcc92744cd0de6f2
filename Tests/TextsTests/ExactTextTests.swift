import Foundation
import Testing
import Texts

@Suite struct ExactTextTests {
    /// Two spellings of what looks like one name.
    private static let composed = "jos\u{E9}"
    private static let decomposed = "jose\u{301}"

    @Test func textsThatOnlyLookEqualDiffer() {
        let (composed, decomposed) = (ExactText(Self.composed), ExactText(Self.decomposed))
        #expect(Self.composed == Self.decomposed, "to Swift they are one: that is what this type is for")
        #expect(composed != decomposed)
        #expect(Set([composed, decomposed]).count == 2)
        #expect([composed: 1, decomposed: 2][decomposed] == 2)
        #expect(![composed].contains(decomposed))
    }

    /// Accents in another order have the same number of bytes, and Swift takes the Kelvin sign for
    /// a K.
    @Test(arguments: [
        ("a\u{301}\u{323}", "a\u{323}\u{301}"), ("\u{212A}", "K"), ("\u{AC00}", "\u{1100}\u{1161}"), ("a\r", "a\r\n"),
    ])
    func bytesAlone(one: String, other: String) {
        #expect(ExactText(one) != ExactText(other))
        #expect(Set([ExactText(one), ExactText(other)]).count == 2)
    }

    /// Strings of every kind that Swift stores differently: short, long, constant, part of another
    /// one.
    @Test(arguments: ["", "job-7", "job-0000000000000000000000000000000000007", "jos\u{E9}", "\u{1F600}"])
    func equalBytesAreOne(text: String) {
        let made = ExactText(String(decoding: Array(text.utf8), as: UTF8.self))
        let part = ExactText(("x" + text).dropFirst())
        #expect(made == ExactText(text) && part == ExactText(text))
        #expect(made.hashValue == ExactText(text).hashValue && part.hashValue == ExactText(text).hashValue)
    }

    @Test func inTheOrderOfTheirBytes() {
        let texts: [ExactText] = ["", "Z", "a", "ab", "a\u{301}", "\u{E1}", "\u{FFFD}", "\u{1F600}"]
        #expect(texts.shuffled().sorted() == texts)
    }

    @Test func inJSONItIsItsText() throws {
        let texts = [ExactText(Self.composed), ExactText(Self.decomposed)]
        let json = try JSONEncoder().encode(texts)
        #expect(try JSONDecoder().decode([ExactText].self, from: json) == texts)
        #expect(try JSONDecoder().decode([String].self, from: json) == texts.map(\.text))
    }
}
