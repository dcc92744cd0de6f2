import Foundation
import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    /// `schema.sql` is the page to read for what the migrations come to.
    @Suite("schema.sql") struct SchemaTests {
        private static let root = URL(filePath: #filePath).appending(path: "../../../..").standardizedFileURL

        /// Another version of Postgres prints some expressions differently. There, only the names
        /// are compared.
        @Test("is what a fresh ledger has") func isTrue() async throws {
            try await TestLedger.with { ledger in
                let written = try String(contentsOf: Self.root.appending(path: "schema.sql"), encoding: .utf8)
                let script = Program(path: Self.root.appending(path: "scripts/schema").path)
                let dumped = try await script.run(["--of", ledger.url, ledger.name.text])
                try #require(dumped.code == 0, "\(dumped)")
                var (page, now) = (Self.lines(written), Self.lines(dumped.output))
                if page[0] != now[0] { (page, now) = (Self.names(page), Self.names(now)) }
                for (there, line) in zip(page, now) where line != there {
                    Issue.record("schema.sql has:\n\(there)\nand a fresh ledger:\n\(line)\nmake schema writes it anew")
                    return
                }
                #expect(now.count == page.count, "make schema writes it anew")
            }
        }

        private static func lines(_ text: String) -> [Substring] { text.split(separator: "\n") }

        private static func names(_ lines: [Substring]) -> [Substring] {
            lines.compactMap { $0.firstMatch(of: /^CREATE [A-Z ]+ \w+/)?.output }
        }
    }
}
