import Testing

@testable import Terminal

@Suite("A screen") struct ScreenTests {
    private static let widths: [(text: String, columns: Int)] = [
        ("", 0), ("abc", 3), ("é", 1), ("e\u{301}", 1), ("日本", 4), ("한글", 4), ("ｆｕｌｌ", 8), ("🙂", 2), ("█░✓✗▸○●…", 8),
        ("a\u{200B}b", 2), ("–—“”", 4), ("\u{1F3FB}", 2),
    ]

    @Test("measures characters as terminals do", arguments: widths) func measures(_ text: String, _ columns: Int) {
        #expect(text.columns == columns)
    }

    @Test("cuts and fills a text to exactly its columns") func fits() {
        for text in [
            "", "a", "abc", "日本株モメンタム", "🙂🇩🇪🙂", "z\u{338}\u{335}a\u{327}", "a\u{1B}[31mb\nc",
            String(repeating: "x", count: 500),
        ] {
            for width in 0...12 {
                for trailing in [false, true] {
                    let fitted = text.fitted(to: width, trailing: trailing)
                    #expect(fitted.columns == width, "\(text) in \(width)")
                    #expect(!fitted.unicodeScalars.contains { $0.value < 0x20 }, "\(text)")
                }
            }
        }
        #expect("abcdef".fitted(to: 4) == "abc…")
        #expect("abcd".fitted(to: 4) == "abcd")
        #expect("7".fitted(to: 4, trailing: true) == "   7")
        // The second character does not fit beside the ellipsis.
        #expect("日本株".fitted(to: 4) == "日… ")
    }

    @Test("draws a letter with no more than a few accents") func accents() {
        let text = "a" + String(repeating: "\u{301}", count: 100_000) + "b"
        #expect(text.shortened(toColumns: 10).unicodeScalars.count == 6)
    }

    @Test("writes only lines that differ") func differences() {
        var screen = Screen(hasColors: true)
        let first = ["one", "two", "three"].map { Line($0).fitted(to: 10) }
        let all = String(decoding: screen.draw(first), as: UTF8.self)
        #expect(all.hasPrefix("\u{1B}[0m\u{1B}[2J") && all.contains("one") && all.contains("three"))
        #expect(screen.draw(first).isEmpty)
        var second = first
        second[1] = Line("2").fitted(to: 10)
        #expect(
            String(decoding: screen.draw(second), as: UTF8.self)
                == "\u{1B}[2;1H\u{1B}[0m\u{1B}[2K\u{1B}[0m2\u{1B}[0m         \u{1B}[0m")
        screen.forget()
        #expect(String(decoding: screen.draw(second), as: UTF8.self).contains("one"))
        // Another size draws all of it.
        #expect(String(decoding: screen.draw(Array(second.dropLast())), as: UTF8.self).contains("\u{1B}[2J"))
    }

    @Test("has colours only if it may, and always the other styles") func colors() {
        for (hasColors, code) in [(true, "\u{1B}[0;1;31m"), (false, "\u{1B}[0;1m")] {
            var screen = Screen(hasColors: hasColors)
            let text = String(decoding: screen.draw([Line("x", Style(.red, isBold: true))]), as: UTF8.self)
            #expect(text.contains("\(code)x"))
            #expect(text.contains("31m") == hasColors)
        }
    }

    @Test("puts what follows a text beyond ASCII into its column, and obeys no text") func columns() {
        var line = Line("日本")
        line.add("next")
        line.add("\u{1B}]0;owned\u{7}\u{9B}2J")
        var screen = Screen(hasColors: true)
        let text = String(decoding: screen.draw([line]), as: UTF8.self)
        #expect(text.contains("日本\u{1B}[5G\u{1B}[0mnext"))
        #expect(!text.contains("\u{1B}]") && !text.contains("\u{9B}") && !text.contains("\u{7}"))
    }

    @Test("a table leaves out empty columns, and puts numbers below each other") func table() {
        let table = TextTable([
            .init("name", ["日本", "b\nc", "long name of a job"], widest: 8), .init("none", ["", "", ""]),
            .init("count", ["1", "1,000", ""], isNumber: true),
        ])
        #expect(table.lines == ["name      count", "日本          1", "b\u{FFFD}c       1,000", "long na…"])
        #expect(TextTable([.init("a", [])]).lines == [])
    }

    @Test("numbers and times are short") func shown() {
        #expect([0, 999, 1000, -1_234_567].map { Shown.count($0) } == ["0", "999", "1,000", "-1,234,567"])
        #expect(
            [0.24, 9.99, 10, 61, 3600, 90_061, 1e18, -5].map { Shown.duration($0) }
                == ["0.2 s", "9.9 s", "10 s", "1 min 1 s", "1 h", "1 d 1 h", "1157407 d 9 h", "0.0 s"])
        #expect(
            [0, 9.99, 59.9, 245, 12_000, 1e18].map { Shown.shortDuration($0) } == [
                "0.0s", "9.9s", "59s", "4m05", "3h20", "9999d",
            ])
        #expect(
            [0, 0.01, 0.44, 9.96, 1234, 12_345, 5e6, 1e300].map { Shown.rate($0) }
                == ["0/s", "<0.1/s", "0.4/s", "10/s", "1234/s", "12.3k/s", "5.0M/s", "1000000.0M/s"])
        for number in [Double.nan, .infinity, -.infinity] {
            #expect(Shown.duration(number) == "" && Shown.shortDuration(number) == "" && Shown.rate(number) == "")
        }
        #expect(
            [0, 0.999, 1, 7, -1, .nan].map { Shown.bar($0, width: 4) } == [
                "░░░░", "███░", "████", "████", "░░░░", "░░░░",
            ])
    }
}
