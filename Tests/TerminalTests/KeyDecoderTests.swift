import LedgerTesting
import Testing

@testable import Terminal

@Suite("Keys") struct KeyDecoderTests {
    private static let keys: [(bytes: String, keys: [Key])] = [
        ("q", [.text("q")]), ("é", [.text("é")]), ("日本", [.text("日"), .text("本")]), ("🙂", [.text("🙂")]),
        ("\r", [.enter]), ("\n", [.enter]), ("\u{7F}", [.backspace]), ("\u{8}", [.backspace]), ("\t", [.tab]),
        ("\u{C}", [.control("l")]), ("\u{1}", [.control("a")]),
        ("\u{1B}[A", [.up]), ("\u{1B}OB", [.down]), ("\u{1B}[1;5C", [.right]), ("\u{1B}[D", [.left]),
        ("\u{1B}[5~", [.pageUp]), ("\u{1B}[6;3~", [.pageDown]), ("\u{1B}[H", [.home]), ("\u{1B}[1~", [.home]),
        ("\u{1B}OF", [.end]), ("\u{1B}[8~", [.end]), ("\u{1B}[3~", [.delete]), ("\u{1B}OM", [.enter]),
        // Escape, and what was typed soon after it.
        ("\u{1B}j", [.escape, .text("j")]), ("\u{1B}\u{1B}[A", [.escape, .up]),
        // Keys that mean nothing here, among some that do.
        ("a\u{1B}[24~b\u{1B}[200~c", [.text("a"), .text("b"), .text("c")]),
        ("\u{1B}[99999999999999999999~x", [.text("x")]), ("\u{1B}[<0;1;2Mx", [.text("x")]),
        // One that was cut off by another.
        ("\u{1B}[1;\u{1B}[B", [.down]), ("\u{1B}O\u{1B}[B", [.down]),
        // Text that a terminal would obey is no text.
        ("\u{9B}31m", [.text("3"), .text("1"), .text("m")]), ("\u{202E}x", [.text("x")]), ("\0", []),
    ]

    @Test("are decoded, whatever the parts in which their bytes come", arguments: keys)
    func decoded(_ bytes: String, _ keys: [Key]) {
        let all = Array(bytes.utf8)
        for length in 1...max(1, all.count) {
            var decoder = KeyDecoder()
            var found: [Key] = []
            for start in stride(from: 0, to: all.count, by: length) {
                found += decoder.add(all[start..<min(all.count, start + length)])
            }
            #expect(found == keys, "in parts of \(length)")
            #expect(!decoder.isWaiting)
        }
    }

    @Test("Escape is one if nothing follows") func escape() {
        var decoder = KeyDecoder()
        #expect(decoder.add([0x1B]) == [])
        #expect(decoder.isWaiting)
        #expect(decoder.flush() == [.escape])
        #expect(!decoder.isWaiting && decoder.flush() == [])
        #expect(decoder.add(Array("\u{1B}[".utf8)) == [])
        #expect(decoder.flush() == [.escape, .text("[")])
        #expect(decoder.add([0xE6, 0x97]) == [] && decoder.flush() == [])
    }

    @Test("bytes that are no UTF-8 are dropped, and nothing after them") func invalid() {
        for bytes: [UInt8] in [
            [0xFF], [0xC0, 0x80], [0xE6, 0x97], [0xF5], [0xED, 0xA0, 0x80], [0x80, 0x80], [0xF0, 0x9F],
        ] {
            var decoder = KeyDecoder()
            #expect(decoder.add(bytes + Array("q".utf8)).last == .text("q"), "\(bytes)")
        }
    }

    @Test("noise makes no key wait for ever, and takes no memory") func noise() {
        var generator = SeededGenerator(seed: .random(in: 0 ... .max))
        let seed = generator
        var decoder = KeyDecoder()
        for _ in 0..<20_000 {
            let length = Int.random(in: 1...12, using: &generator)
            _ = decoder.add(
                (0..<length).map { _ in
                    Bool.random(using: &generator)
                        ? UInt8.random(in: 0 ... .max, using: &generator)
                        : [0x1B, 0x5B, 0x4F, 0x3B, 0x31, 0x7E].randomElement(using: &generator)!
                })
            // A key of more than 32 bytes is dropped.
            #expect(decoder.pendingCount <= 32, "\(seed)")
        }
        _ = decoder.flush()
        #expect(decoder.add(Array("\u{1B}[A".utf8)) == [.up])
    }
}
