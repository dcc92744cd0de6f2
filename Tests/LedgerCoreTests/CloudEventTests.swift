import Foundation
import LedgerCore
import LedgerTesting
import Testing

@Suite struct CloudEventTests {
    private let id = UUID(uuidString: "0193A5C0-1111-7222-8333-444455556666")!

    private func event(
        job: JobID = "job-1", data: String? = "{}", metadata: String = "{}", occurredAt: Timestamp? = nil
    )
        -> RecordedEvent
    {
        RecordedEvent(
            position: 9_007_199_254_740_993, id: id, job: job, version: 3, type: .progress, data: data,
            metadata: metadata,
            occurredAt: occurredAt, recordedAt: Timestamp("2026-11-23T20:45:01.5Z")!)
    }

    /// The event as Foundation decodes it. Checks that the text is on one line.
    private func decoded(_ event: RecordedEvent, ledger: LedgerName = .standard) throws -> [String: Any] {
        let json = CloudEvent(event, of: ledger).json
        #expect(!json.contains { $0 < 0x20 })
        return try #require(try JSONSerialization.jsonObject(with: Data(json)) as? [String: Any])
    }

    /// Redis and services may send anything.
    @Test func aFeedEventHasNumbersThatCanBeCountedWith() throws {
        let json = String(decoding: CloudEvent(event(), of: .standard).json, as: UTF8.self)
        for text in NumberEnds.all {
            let literal = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            let other = json.replacing(#""9007199254740993""#, with: "\"\(literal)\"")
            if let event = try? FeedEvent(json: Array(other.utf8)) {
                #expect(event.position > 0 && Position.positions.contains(event.position), "\(text)")
            }
            if NumberEnds.numbers.contains(text) {
                let version = json.replacing(#""streamversion":3"#, with: #""streamversion":\#(text)"#)
                if let event = try? FeedEvent(json: Array(version.utf8)) { #expect(event.version > 0, "\(text)") }
            }
        }
        for position in ["0", "-1", "-9223372036854775808", "9223372036854775807", "4611686018427387904", "+5"] {
            #expect(throws: FeedEvent.Malformed.self, "\(position)") {
                try FeedEvent(json: Array(json.replacing("9007199254740993", with: position).utf8))
            }
        }
    }

    @Test func theAttributes() throws {
        let name = try #require(LedgerName("my_ledger2"))
        let attributes = try decoded(event(occurredAt: Timestamp("2026-11-23T20:45:00Z")), ledger: name)
        #expect(attributes["specversion"] as? String == "1.0")
        #expect(attributes["id"] as? String == "0193a5c0-1111-7222-8333-444455556666")
        #expect(attributes["source"] as? String == "/jobledger/my_ledger2")
        #expect(attributes["type"] as? String == "io.jobledger.job.progress")
        #expect(attributes["subject"] as? String == "job-1")
        #expect(attributes["time"] as? String == "2026-11-23T20:45:00Z")
        #expect(attributes["recordedtime"] as? String == "2026-11-23T20:45:01.5Z")
        #expect(attributes["datacontenttype"] as? String == "application/json")
        // A string, because a double cannot hold this position.
        #expect(attributes["position"] as? String == "9007199254740993")
        #expect(attributes["streamversion"] as? Int == 3)
        #expect(attributes.count == 11)
        #expect(attributes.keys.allSatisfy { $0.wholeMatch(of: /[a-z0-9]+/) != nil })
        #expect(try decoded(event())["time"] as? String == "2026-11-23T20:45:01.5Z")
    }

    @Test(arguments: [
        "plain", "with space", "\"quoted\"", "back\\slash", "👩‍👩‍👧‍👦 é", "line\nbreak\r\n\ttab", "\u{1}\u{1F}\u{7F}",
        "\u{2028}\u{2029}", "a/b?c=d&e#f%20",
        "</script>", "{\"a\":1}", "",
    ])
    func anyJobIsASubject(job: String) throws {
        #expect(try decoded(event(job: JobID(job)))["subject"] as? String == job)
        let reference = try #require(try decoded(event(job: JobID(job), data: nil))["dataref"] as? String)
        // A path segment of unreserved characters, which decodes to the job.
        let segment = try #require(
            reference.wholeMatch(of: /\/v1\/jobs\/([A-Za-z0-9._~%-]*)\/events\?after=2&limit=1/)?.1)
        #expect(String(segment).removingPercentEncoding == job)
    }

    @Test func dataKeepsItsMeaningOnOneLine() throws {
        let data = "{\r\n  \"a\" : [ 1.0,\n\n\t2e3 ],\n  \"s\": \"line\\nbreak 👍\"\n}\n".replacing("\t", with: " ")
        let attributes = try decoded(event(data: data))
        let meant = try JSONSerialization.jsonObject(with: Data(data.utf8)) as? NSDictionary
        #expect(attributes["data"] as? NSDictionary == meant)
        #expect(meant != nil)
        let bytes = CloudEvent(event(data: #"{"n":1.00,"b":1e400}"#), of: .standard).json
        #expect(String(decoding: bytes, as: UTF8.self).contains(#""data":{"n":1.00,"b":1e400}"#))
    }

    /// An event of another category has it in its type, and no rule of jobs concerns it.
    @Test(arguments: ["u-1", "a b/ü?\"\n", "job:a", "", "ä.b.c"])
    func anotherCategory(stream: String) throws {
        let category = try #require(Category("user_2"))
        for name in ["registered", "failed", "progress"] {
            var recorded = event(job: JobID(stream))
            (recorded.category, recorded.type) = (category, try #require(EventType(rawValue: name)))
            let attributes = try decoded(recorded)
            #expect(attributes["type"] as? String == "io.jobledger.user_2.\(name)")
            #expect(attributes["subject"] as? String == stream)
            let received = try FeedEvent(json: CloudEvent(recorded, of: .standard).json)
            #expect(received == FeedEvent(recorded, of: .standard))
            #expect(received.category == category && received.type == recorded.type && !received.endsJob)
            #expect(received.job == recorded.job)
            recorded.data = nil
            let reference = try #require(try decoded(recorded)["dataref"] as? String)
            let segment = try #require(
                reference.wholeMatch(of: /\/v1\/streams\/user_2\/([A-Za-z0-9._~%-]*)\/events\?after=2&limit=1/)?.1)
            #expect(String(segment).removingPercentEncoding == stream)
            #expect(try FeedEvent(json: CloudEvent(recorded, of: .standard).json).dataReference == reference)
        }
        var end = event()
        end.type = .failed
        #expect(try FeedEvent(json: CloudEvent(end, of: .standard).json).endsJob)
    }

    @Test(arguments: [
        "io.jobledger.", "io.jobledger.user", "io.jobledger.user.", "io.jobledger..queued", "io.jobledger.User.queued",
        "io.jobledger.user.Removed", "io.jobledger.user.a.b", "io.jobledger.job.", "io.jobledger.job.a.b",
        "com.example.user.removed", "io.jobledgers.job.queued",
    ])
    func otherTypesAreNoEventsOfALedger(type: String) throws {
        let json = String(decoding: CloudEvent(event(), of: .standard).json, as: UTF8.self)
        #expect(throws: FeedEvent.Malformed.self) {
            try FeedEvent(json: Array(json.replacing("io.jobledger.job.progress", with: type).utf8))
        }
    }

    @Test func dataThatWasLeftOutHasAReference() throws {
        let attributes = try decoded(event(job: "a b", data: nil))
        #expect(attributes["dataref"] as? String == "/v1/jobs/a%20b/events?after=2&limit=1")
        #expect(attributes["data"] == nil && attributes["datacontenttype"] == nil)
    }

    @Test func metadataBecomeExtensions() throws {
        let metadata = """
            { "actor": "old", "actor" : "Zoë \\"Z\\" \\u00e9", "correlation_id":"c-1", "causation_id":
              "x/y", "traceparent":"00-ab-cd-01", "own": {"not": "shown"}, "source": "evil" }
            """
        let attributes = try decoded(event(metadata: metadata))
        #expect(attributes["actor"] as? String == "Zoë \"Z\" é")
        #expect(attributes["correlationid"] as? String == "c-1")
        #expect(attributes["causationid"] as? String == "x/y")
        #expect(attributes["traceparent"] as? String == "00-ab-cd-01")
        #expect(attributes["own"] == nil)
        #expect(attributes["source"] as? String == "/jobledger/jobledger")
    }

    /// CloudEvents has strings, numbers and booleans. Ours are strings; other values are left out.
    @Test(arguments: [
        "{ }", #"{"actor":null}"#, #"{"actor":7}"#, #"{"actor":{"a":"b"}}"#, #"{"actor":"a","actor":null}"#,
    ])
    func metadataWithoutAStringAddNothing(metadata: String) throws {
        #expect(try decoded(event(metadata: metadata)).count == 11)
    }
}
