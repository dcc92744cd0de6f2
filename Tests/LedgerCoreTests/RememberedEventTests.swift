import Testing

@testable import LedgerCore

/// The forms in which somebody outside the ledger remembers an event.
struct RememberedEventTests {
    private static let id = EventID(text: "0190b0c8-6f2a-7000-8000-000000000001")!
    private static let other = EventID(text: "0190b0c8-6f2a-7000-8000-000000000002")!

    private static func read(_ line: String) throws -> [RememberedEvent] {
        try RememberedEvent.all(in: Array(line.utf8)[...])
    }

    @Test func answers() throws {
        let answer = #"{"position":7,"version":2,"event_id":"\#(Self.id.text)","duplicate":false}"#
        let event = RememberedEvent(id: Self.id, position: 7)
        #expect(try Self.read(answer) == [event])
        #expect(try Self.read("  [\(answer), \(answer)]\r") == [event, event])
        // Of a request for many jobs, where one was refused.
        let refused = #"{"error":{"code":"unknown_job","message":"x"}}"#
        #expect(try Self.read(#"{"results":[\#(refused),\#(answer)]}"#) == [event])
        // An entry of the audit trail.
        let entry = #"{"position":"7","event_id":"\#(Self.id.text)","job":"a","version":2,"type":"progress"}"#
        #expect(try Self.read(entry) == [RememberedEvent(id: Self.id, position: 7, job: "a", type: "progress")])
    }

    /// What a ledger publishes says all of an event but the appender's own metadata.
    @Test(arguments: [nil, Timestamp(microseconds: 5)]) func cloudEvents(occurredAt: Timestamp?) throws {
        let recorded = RecordedEvent(
            position: 7, id: Self.id, job: "a\u{0}\"ä", version: 2, type: .progress, data: #"{"completed": 1.0}"#,
            metadata: #"{"actor":"ada","correlation_id":"c\u0041","own":1,"traceparent":"t"}"#, occurredAt: occurredAt,
            recordedAt: Timestamp(microseconds: 9))
        let json = String(decoding: CloudEvent(recorded, of: .standard).json, as: UTF8.self)
        let event = NewEvent(
            type: "progress", data: #"{"completed": 1.0}"#,
            metadata: #"{"actor":"ada","correlation_id":"c\u0041","traceparent":"t"}"#, id: Self.id,
            occurredAt: occurredAt)
        let expected = RememberedEvent(
            id: Self.id, position: 7, job: recorded.job, type: "progress",
            request: AppendRequest(job: recorded.job, events: [event]))
        #expect(try Self.read(json) == [expected])
        #expect(try Self.read(#"{"events":[\#(json)]}"#) == [expected])
        // Large data were left out.
        var large = recorded
        large.data = nil
        let incomplete = try Self.read(String(decoding: CloudEvent(large, of: .standard).json, as: UTF8.self))
        #expect(incomplete.map(\.id) == [Self.id] && incomplete[0].request == nil)
    }

    /// An export has each byte that was sent.
    @Test func exports() throws {
        let line =
            #"{"position":7,"event_id":"\#(Self.id.text)","category":"job","stream_id":"a","version":2,"#
            + #""type":"progress","occurred_at":"2026-11-29T10:00:00.5+00:00","#
            + #""recorded_at":"2026-11-29T10:00:01+00:00","#
            + #""data":"{\"completed\":\n 1}","metadata":"{\"own\": 1}"}"#
        let event = NewEvent(
            type: "progress", data: "{\"completed\":\n 1}", metadata: #"{"own": 1}"#, id: Self.id,
            occurredAt: Timestamp("2026-11-29T10:00:00.5Z"))
        #expect(
            try Self.read(line) == [
                RememberedEvent(
                    id: Self.id, position: 7, job: "a", type: "progress",
                    request: AppendRequest(job: "a", events: [event]))
            ])
        let header = #"{"format":"jobledger log","version":1,"ledger":"l","epoch":"e","from":1,"to":7,"previous":null}"#
        for line in [header, #"{"count":7,"sha256":"ab"}"#, "", " \t\r", #"{"diverged":{"place":"7.3f2a9c1e"}}"#] {
            #expect(try Self.read(line) == [], "\(line)")
        }
    }

    /// Each form may be of another category than that of jobs.
    @Test func otherCategories() throws {
        let user = try #require(Category("user"))
        let event = NewEvent(type: "removed", data: #"{"why": "asked"}"#, id: Self.id)
        let request = AppendRequest(category: user, job: "u-1", events: [event])
        let expected = RememberedEvent(
            id: Self.id, position: 7, category: user, job: "u-1", type: "removed", request: request)
        let recorded = RecordedEvent(
            position: 7, id: Self.id, category: user, job: "u-1", version: 2,
            type: try #require(EventType(rawValue: "removed")), data: event.data, recordedAt: Timestamp(microseconds: 9)
        )
        #expect(try Self.read(String(decoding: CloudEvent(recorded, of: .standard).json, as: UTF8.self)) == [expected])
        let exported =
            #"{"position":7,"event_id":"\#(Self.id.text)","category":"user","stream_id":"u-1","version":2,"#
            + #""type":"removed","data":"{\"why\": \"asked\"}","metadata":"{}"}"#
        #expect(try Self.read(exported) == [expected])
        let sent =
            #"{"category":"user","stream":"u-1","type":"removed","data":{"why": "asked"},"#
            + #""event_id":"\#(Self.id.text)"}"#
        var unnumbered = expected
        unnumbered.position = nil
        #expect(try Self.read(sent) == [unnumbered])
        // What `lost` and `tail` say of an event of another category.
        let said = #"{"position":7,"event_id":"\#(Self.id.text)","category":"user","stream":"u-1","type":"removed"}"#
        #expect(
            try Self.read(said) == [
                RememberedEvent(id: Self.id, position: 7, category: user, job: "u-1", type: "removed")
            ])
    }

    @Test func eventsToAppend() throws {
        let line =
            #"{"job":"a","type":"progress","data":{"completed": 1},"event_id":"\#(Self.id.text)","expected_version":1}"#
        let event = NewEvent(type: "progress", data: #"{"completed": 1}"#, id: Self.id)
        #expect(
            try Self.read(line) == [
                RememberedEvent(
                    id: Self.id, job: "a", type: "progress",
                    request: AppendRequest(job: "a", events: [event], expectedVersion: 1))
            ])
    }

    @Test(arguments: [
        (#"{"job":"a","type":"progress","data":{}}"#, "has no \"event_id\""),
        (#"{"position":0,"event_id":"0190b0c8-6f2a-7000-8000-000000000001"}"#, "\"position\" is not a position"),
        (#"{"position":7,"event_id":"7"}"#, "\"event_id\" is not a UUID"),
        (#"{"position":7,"position":8,"event_id":"x"}"#, "given twice"),
        (#"{"specversion":"1.0","id":"x","type":"io.jobledger.job.queued"}"#, "\"id\" is not a UUID"),
        (
            #"{"specversion":"1.0","id":"0190b0c8-6f2a-7000-8000-000000000001","type":"com.example","subject":"a"}"#,
            "something else than a ledger"
        ),
        (#"{"name":"x"}"#, "names no event"), ("7", "not a JSON object"), ("[7]", "not a JSON object"),
        (#"[[{"position":1}]]"#, "not a JSON object"), (#"{"results":7}"#, "not a list"),
        (#"{"results":[{"results":[{"results":[]}]}]}"#, "names no event"), ("{", "not a JSON object"),
        (#"{"position":7,"event_id""#, "not a JSON object"),
    ])
    func others(_ line: String, _ why: String) throws {
        let error = try #require(throws: RememberedEvent.Unreadable.self) { try Self.read(line) }
        #expect(error.description.contains(why), "\(error)")
    }

    @Test func noText() throws {
        let error = try #require(throws: RememberedEvent.Unreadable.self) {
            try RememberedEvent.all(in: [0x7B, 0xFF, 0x7D])
        }
        #expect(error.description == "it is not UTF-8")
    }
}
