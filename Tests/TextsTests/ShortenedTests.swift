import Testing
import Texts

@Suite("beginnings of texts") struct ShortenedTests {
    @Test("cut by bytes, between scalars") func bytes() {
        #expect("".shortened(toBytes: 3) == "")
        #expect("abc".shortened(toBytes: 3) == "abc")
        #expect("abcd".shortened(toBytes: 3) == "abc…")
        #expect("abé".shortened(toBytes: 3) == "ab…")
        #expect("ab€d".shortened(toBytes: 4) == "ab…")
        #expect("ab€d".shortened(toBytes: 5) == "ab€…")
        #expect("😀x".shortened(toBytes: 3) == "…")
        #expect("abcd".dropFirst().shortened(toBytes: 2) == "bc…")
    }

    @Test("what is one character to Swift may be megabytes") func accents() {
        let text = "e" + String(repeating: "\u{301}", count: 100_000)
        #expect(text.count == 1)
        #expect(text.shortened(toBytes: 60).utf8.count <= 60 + "…".utf8.count)
    }
}
