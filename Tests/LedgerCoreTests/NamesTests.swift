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
        #expect(name.channel("a b") == "l:job:a b" && name.headChannel == "l:head")
        let user = try #require(Category("user"))
        #expect(name.channel(of: user, "a:b *") == "l:user:a:b *")
        // The pattern has the channels of all streams, and not that of the head.
        #expect(name.everyStream == "l:*:*")
        #expect(LedgerName.standard == LedgerName("jobledger"))
        #expect("\(name)" == "l")
    }
}

@Suite struct EventTypeTests {
    @Test func onlyTheEndsAreEnds() {
        #expect(EventType.jobTypes.filter(\.isEnd) == [.finished, .failed])
        #expect(EventType.jobTypes.map(\.rawValue) == ["queued", "progress", "truncated", "finished", "failed"])
        #expect(EventType.jobTypes.map { EventType(rawValue: $0.rawValue) } == EventType.jobTypes)
        #expect(EventType.jobTypes.filter(\.isOfJobs) == EventType.jobTypes)
    }

    @Test(arguments: ["registered", "a", "a1_", "end", "job", String(repeating: "x", count: 63)])
    func others(name: String) throws {
        let type = try #require(EventType(rawValue: name))
        #expect(type.rawValue == name && "\(type)" == name && type == EventType(rawValue: name))
        #expect(!type.isEnd && !type.isOfJobs && !EventType.jobTypes.contains(type))
        #expect(Set([type, type]).count == 1)
    }

    @Test(arguments: [
        "", "_a", "1a", "Failed", "fail ed", "a-b", "a.b", "a\n", "a\0", "ä", "a\u{301}", "failed\u{0}",
        String(repeating: "x", count: 64),
    ])
    func invalid(name: String) { #expect(EventType(rawValue: name) == nil) }
}

@Suite struct CategoryTests {
    @Test(arguments: ["job", "user", "a", "a_1", "pg_x", String(repeating: "x", count: 50)])
    func valid(name: String) throws {
        let category = try #require(Category(name))
        #expect(category.text == name && "\(category)" == name && (category == .job) == (name == "job"))
    }

    @Test(arguments: [
        "", "_a", "1a", "Job", "a b", "a-b", "a.b", "a:b", "a*", "a'b", "a\n", "a\0", "ä", "a\u{301}",
        String(repeating: "x", count: 51),
    ])
    func invalid(name: String) { #expect(Category(name) == nil) }

    @Test func streamsOfTwoCategoriesDiffer() throws {
        let user = try #require(Category("user"))
        let keys: Set = [StreamKey(.job, "a"), StreamKey(user, "a"), StreamKey(user, "b"), StreamKey(user, "a")]
        #expect(keys.count == 3)
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
