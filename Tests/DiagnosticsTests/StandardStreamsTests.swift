import Foundation
import Testing
import Texts

@testable import Diagnostics

/// Messages to people: writing them never blocks or ends the program, and a terminal does not
/// execute what is in them.
@Suite struct StandardStreamsTests {
    @Test func everythingIsWrittenAndASlowReaderIsNotWaitedForBeyondTheTimeout() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { close(ends[0]) }
        #expect(StandardStreams.write(Array("said".utf8), to: ends[1]))
        var bytes = [UInt8](repeating: 0, count: 10)
        #expect(read(ends[0], &bytes, 10) == 4)
        // More than a pipe holds, and nobody reads.
        #expect(!StandardStreams.write([UInt8](repeating: 0x78, count: 1 << 20), to: ends[1], timeout: 1))
        close(ends[1])
        #expect(!StandardStreams.write([0x78], to: ends[1], timeout: 1))
    }

    @Test func writingToAFullOrClosedStreamReturnsFalse() {
        let full = open("/dev/full", O_WRONLY | O_CLOEXEC)
        #expect(!StandardStreams.write([0x78], to: full))
        close(full)
        #expect(!StandardStreams.write([0x78], to: full))
    }

    private static let controls = [
        "\u{1B}[31m", "\u{9B}31m", "\r", "\t", "\u{7F}", "\u{85}", "\u{202E}", "\u{2066}", "\u{2028}", "\u{0}",
    ]

    @Test(arguments: controls) func controlCharactersAreReplaced(_ text: String) {
        #expect("a\(text)b".printable.unicodeScalars.dropFirst().first == "\u{FFFD}")
        #expect("a\(text)b\n".printableLines.hasPrefix("a\u{FFFD}") && "a\(text)b\n".printableLines.hasSuffix("b\n"))
        #expect("a\nb".printable == "a\u{FFFD}b")
    }

    @Test func unusualButHarmlessTextIsShown() {
        for text in ["é", "e\u{301}", "👩‍👩‍👧", "שלום", "\u{200F}", "日本"] {
            #expect(text.printable == text && text.printableDocument == text)
        }
    }

    @Test func aDocumentKeepsItsMeaning() throws {
        let json = "{\"a\":\"\u{9B}31m\u{202E}é\"}\n"
        let shown = json.printableDocument
        #expect(shown == "{\"a\":\"\\u009b31m\\u202eé\"}\n")
        let decoder = JSONDecoder()
        #expect(
            try decoder.decode([String: String].self, from: Data(shown.utf8))  // plain: the same document twice
                == decoder.decode([String: String].self, from: Data(json.utf8)))  // plain: the same document twice
        #expect("a,b\r\n".printableDocument == "a,b\r\n" && "a\rb".printableDocument == "a\\u000db")
    }

    /// Code that writes around this module would end a process whose standard error is gone, and
    /// send control characters to terminals.
    @Test func noOtherCodeWritesToStandardStreams() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..").standardizedFileURL
        let others = [
            "FileHandle.standardError", "FileHandle.standardOutput", "StreamLogHandler.standard", "Logger(label: \"",
        ]
        var files = 0
        for folder in ["Sources", "bench"] {
            let found = try #require(FileManager.default.enumerator(atPath: root.appending(path: folder).path))
            for case let file as String in found where file.hasSuffix(".swift") && !file.hasPrefix("EmbedFiles") {
                let text = try String(contentsOf: root.appending(path: "\(folder)/\(file)"), encoding: .utf8)
                for other in others { #expect(!text.contains(other), "\(folder)/\(file)") }
                files += 1
            }
        }
        #expect(files > 300)
    }
}
