import Foundation
import LedgerCore
import Testing

@Suite struct LedgerNameTests {
    @Test(arguments: ["jobledger", "a", "_", "_1", "a_b_2", "pg", "pgx", "p_g_", String(repeating: "x", count: 50)])
    func valid(text: String) { #expect(LedgerName(text)?.text == text) }

    @Test(arguments: [
        "", "1a", "Upper", "a-b", "a b", "a.b", "a\"b", "a'b", "a;b", "ä", "a\u{301}", "а", "１", "pg_", "pg_catalog",
        "a\n",
        "a\0", "a:b", "a*",
        String(repeating: "x", count: 51),
    ])
    func invalid(text: String) { #expect(LedgerName(text) == nil) }

    @Test func channels() throws {
        let name = try #require(LedgerName("l"))
        #expect(name.channel(ofJob: "a b") == "l:job:a b" && name.everyJob == "l:job:*" && name.headChannel == "l:head")
        #expect(LedgerName.standard == LedgerName("jobledger"))
        #expect("\(name)" == "l")
    }
}

@Suite struct EventTypeTests {
    @Test func onlyTheEndsAreEnds() {
        #expect(EventType.allCases.filter(\.isEnd) == [.finished, .failed])
        #expect(EventType.allCases.map(\.rawValue) == ["queued", "progress", "truncated", "finished", "failed"])
    }
}

@Suite struct EventIDTests {
    private func milliseconds(_ id: UUID) -> UInt64 {
        withUnsafeBytes(of: id.uuid) { $0.prefix(6).reduce(0) { $0 << 8 | UInt64($1) } }
    }

    @Test func versionVariantAndTime() {
        for _ in 0..<1_000 {
            let before = UInt64(Date().timeIntervalSince1970 * 1000)
            let id = UUID.version7()
            let after = UInt64(Date().timeIntervalSince1970 * 1000)
            #expect(id.uuid.6 >> 4 == 7)
            #expect(id.uuid.8 >> 6 == 0b10)
            #expect((before...after).contains(milliseconds(id)))
        }
    }

    @Test func theyDifferAndSortByTime() {
        let ids = (0..<10_000).map { _ in UUID.version7() }
        #expect(Set(ids).count == ids.count)
        #expect(ids.map { $0.text.prefix(13) } == ids.map { $0.text.prefix(13) }.sorted())
    }

    @Test func textIsThatOfPostgres() {
        #expect(
            UUID(uuidString: "0193A5C0-1111-7222-8333-ABCDEFABCDEF")?.text == "0193a5c0-1111-7222-8333-abcdefabcdef")
    }
}
