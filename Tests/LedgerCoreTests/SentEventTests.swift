import Testing

@testable import LedgerCore

/// Events as programs send them: of a job, or of a stream of another category.
@Suite struct SentEventTests {
    private static func read(_ json: String, needsJob: Bool = true) throws -> SentEvent {
        try SentEvent(members: try JSONText.slices(of: Array(json.utf8)[...]), in: "the line", needsJob: needsJob)
    }

    @Test func ofAJob() throws {
        let event = try Self.read(#"{"job":"a","type":"queued","data":{"name":"n"}}"#)
        #expect(event.job == "a" && event.category == nil && event.event.type == "queued")
        let inPath = try Self.read(#"{"type":"queued"}"#, needsJob: false)
        #expect(inPath.job == nil && inPath.category == nil)
    }

    @Test func ofAnotherCategory() throws {
        let event = try Self.read(
            #"{"category":"user","stream":"u/1 ü","type":"registered","data":{"email":"a@b.c"},"expected_version":0}"#)
        #expect(event.category == Category("user") && event.job == "u/1 ü" && event.expectedVersion == 0)
        #expect(event.event.type == "registered" && event.event.data == #"{"email":"a@b.c"}"#)
        // The category of jobs may be named as well.
        let job = try Self.read(#"{"category":"job","stream":"a","type":"queued"}"#)
        #expect(job.category == .job && job.job == "a")
    }

    @Test(arguments: [
        (#"{"job":"a","category":"user","stream":"u","type":"t"}"#, "\"job\" and \"stream\" are both given"),
        (#"{"category":"user","type":"t"}"#, "stream missing"),
        (#"{"job":"a","category":"user","type":"t"}"#, "stream missing"),
        (#"{"stream":"u","type":"t"}"#, "category missing"),
        (#"{"job":"a","stream":"u","type":"t"}"#, "category missing"),
        (#"{"category":"User","stream":"u","type":"t"}"#, "\"category\" must be the name of a category"),
        (#"{"category":7,"stream":"u","type":"t"}"#, "\"category\" must be a text"),
        (#"{"category":null,"stream":"u","type":"t"}"#, "\"category\" must be a text"),
        (
            #"{"category":"user","stream":"u"}"#,
            #"type missing: an event looks like {"category": "user", "stream": "ID", "type": "TYPE", "data": {}}"#
        ),
        (#"{"category":"","stream":"u","type":"t"}"#, "with a letter first, not an empty text"),
        (#"{"category":"user","stream":"u","stream":"v","type":"t"}"#, "\"stream\" is given twice"),
        (#"{"type":"t"}"#, #"job missing: an event looks like {"job": "backtest-7", "type": "queued", "#),
    ])
    func refused(_ json: String, _ why: String) throws {
        let refusal = try #require(throws: Refusal.self) { try Self.read(json) }
        #expect(refusal.code == .invalidEvent && refusal.message.contains(why), "\(refusal)")
    }

    /// Where the path names the stream, an event looks like one of its category.
    @Test func theExampleIsOfTheCategoryInThePath() throws {
        func message(_ category: Category) throws -> String {
            let none = try JSONText.slices(of: Array("{}".utf8)[...])
            return try #require(throws: Refusal.self) {
                try SentEvent(members: none, in: "the event", of: category, needsJob: false)
            }.message
        }
        #expect(try message(.job).hasSuffix(#"looks like {"type": "queued", "data": {"name": "SMA"}}"#))
        #expect(try message(#require(Category("user"))).hasSuffix(#"looks like {"type": "TYPE", "data": {}}"#))
    }

    @Test func cloudEvents() throws {
        func event(_ type: String) throws -> SentEvent {
            let json = """
                {"specversion":"1.0","id":"0190b0c8-6f2a-7000-8000-000000000001","source":"/x","subject":"u-1",\
                "type":"\(type)"}
                """
            return try SentEvent(cloudEvent: try JSONText.slices(of: Array(json.utf8)[...]), data: nil)
        }
        let job = try event("io.jobledger.job.queued")
        #expect(job.category == .job && job.event.type == "queued")
        let user = try event("io.jobledger.user.registered")
        #expect(user.category == Category("user") && user.job == "u-1" && user.event.type == "registered")
        // The ledger refuses a type that a category does not have.
        #expect(try event("io.jobledger.user.a.b").event.type == "a.b")
        for type in ["io.jobledger.user", "io.jobledger.User.registered", "com.example.done", "io.jobledger."] {
            let refusal = try #require(throws: Refusal.self, "\(type)") { try event(type) }
            #expect(refusal.message.hasPrefix("\"type\" must be io.jobledger.job.queued"), "\(refusal)")
        }
    }

    @Test func refusalsThatCategoriesAdd() {
        #expect(Refusal.Code(rawValue: "not_unique") == .notUnique)
        #expect(Refusal.Code(rawValue: "unknown_reference") == .unknownReference)
        #expect(Refusal.Code(rawValue: "invalid_transition") == .invalidTransition)
    }
}
