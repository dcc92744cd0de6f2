import EventStore
import LedgerCore
import LedgerTesting
import Testing

/// Input at the limits is accepted or refused by rule; accepted input comes back byte for byte.
@Suite struct OddInputTests {
    private static let accepted: [(what: String, job: String, strategy: String)] = [
        ("quotes and spaces", #"it's "a" job "#, "1"), ("emoji", "🙂👩‍👩‍👧", #""🙂""#),
        ("255 characters", String(repeating: "ü", count: 255), "1"),
        ("a percent, a star and a colon", "100%:*?[a]", "1"), ("SQL", "'; DROP TABLE events; --", "1"),
        ("a backslash", #"a\b"#, #""a\\b""#),
        ("64 levels", "deep", String(repeating: "[", count: 64) + String(repeating: "]", count: 64)),
        ("spacing, key order and number form", "form", #"{ "b":1.0,"a" : 1e2 , "b":  [ ] }"#),
        ("line breaks between tokens", "lines", "[\n1,\r\n2\t]"), ("escapes", "escapes", #""\u00fc\ud83d\ude42\/\n""#),
        ("the largest double", "large", "1.7976931348623157e308"),
        ("a long number", "digits", String(repeating: "9", count: 300)),
        ("what looks like a number in a string", "hash", #""3e9999""#),
    ]

    @Test func acceptedAndKeptByteForByte() async throws {
        try await TestLedger.with { ledger async throws in
            for (what, job, strategy) in Self.accepted {
                let data = #"{"name":"n","strategy":\#(strategy)}"#
                _ = try await ledger.store.append(NewEvent(type: "queued", data: data), to: job)
                let kept = try await ledger.store.page(EventQuery(job: job))
                #expect(kept.count == 1 && kept[0].job == job && kept[0].data == data, "\(what)")
            }
            let large = #"{"name":"n","strategy":"\#(String(repeating: "x", count: 7 << 20))"}"#
            _ = try await ledger.store.append(NewEvent(type: "queued", data: large), to: "7 MiB")
            #expect(try await ledger.store.page(EventQuery(job: "7 MiB"))[0].data == large)
            #expect(try await ledger.store.page(EventQuery(job: "7 MiB", largestData: 1 << 16))[0].data == nil)
        }
    }

    private static let refusedJobs = [
        "", String(repeating: "x", count: 256), "a\nb", "a\tb", "a\u{7F}", "a\u{0}b", "\u{1B}[31m",
    ]

    private static let refusedStrategies = [
        #""\u0000""#, #""\ud800""#, #""\udc00\ud800""#, "1e400000", "1e400", "-1e309", "1e-400",
        "1" + String(repeating: "0", count: 400), String(repeating: "9", count: 250) + "e99", "01", "nul", "[1,]",
        #"{"a"}"#,
        "'a'", "NaN", "",
        "1}{", String(repeating: "[", count: 200) + String(repeating: "]", count: 200),
        String(repeating: "[", count: 1_000_000),
        String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000),
    ]

    @Test func refusedAsInvalid() async throws {
        try await TestLedger.with { ledger async throws in
            func code(_ job: String, _ event: NewEvent) async throws -> Refusal.Code? {
                if case .failure(let refusal) = try await ledger.store.append([AppendRequest(job: job, events: [event])]
                )[0] {
                    refusal.code
                } else {
                    nil
                }
            }
            for job in Self.refusedJobs {
                #expect(
                    try await code(job, NewEvent(type: "queued", data: #"{"name":"n"}"#)) == .invalidEvent,
                    "job \(job.debugDescription)")
            }
            for strategy in Self.refusedStrategies {
                let event = NewEvent(type: "queued", data: #"{"name":"n","strategy":\#(strategy)}"#)
                #expect(try await code("a", event) == .invalidEvent, "strategy \(strategy.prefix(40))")
            }
            for data in ["", "null", "[]", "1", #""a""#, "{", "}", "{}{}"] {
                #expect(try await code("a", NewEvent(type: "queued", data: data)) == .invalidEvent, "data \(data)")
            }
            for metadata in ["", "null", "[]", #"{"actor":1}"#, #"{"correlation_id":{}}"#, #"{"x":"\u0000"}"#] {
                let event = NewEvent(type: "queued", data: #"{"name":"n"}"#, metadata: metadata)
                #expect(try await code("a", event) == .invalidEvent, "metadata \(metadata)")
            }
            for type in ["", "Queued", "started", "queued ", "x'y", String(repeating: "x", count: 100_000)] {
                #expect(
                    try await code("a", NewEvent(type: type, data: #"{"name":"n"}"#)) == .invalidEvent,
                    "type \(type.prefix(20))")
            }
            let tenMegabytes = #"{"name":"n","strategy":"\#(String(repeating: "x", count: 10 << 20))"}"#
            #expect(try await code("a", NewEvent(type: "queued", data: tenMegabytes)) == .tooLarge)
            let largeMetadata = #"{"x":"\#(String(repeating: "x", count: 65_536))"}"#
            #expect(
                try await code("a", NewEvent(type: "queued", data: #"{"name":"n"}"#, metadata: largeMetadata))
                    == .tooLarge)
            #expect(try await ledger.count() == 0)
        }
    }

    /// The data of each type: wrong members are refused, and nulls count as absent.
    @Test(arguments: [
        ("queued", "{}", false), ("queued", #"{"name":1}"#, false), ("queued", #"{"name":""}"#, false),
        ("queued", #"{"name":"n","kind":"cloud"}"#, false), ("queued", #"{"name":"n","kind":"local"}"#, true),
        ("queued", #"{"name":"n","total":-1}"#, false), ("queued", #"{"name":"n","total":1.5}"#, false),
        ("queued", #"{"name":"n","total":2.0}"#, true),
        ("queued", #"{"name":"n","total":2147483648}"#, false), ("queued", #"{"name":"n","total":"1"}"#, false),
        ("queued", #"{"name":"n","variables":{}}"#, false), ("queued", #"{"name":"n","variables":[1]}"#, false),
        ("queued", #"{"name":"n","variables":[{"values":[]}]}"#, false),
        ("queued", #"{"name":"n","variables":[{"name":"a","values":1}]}"#, false),
        ("queued", #"{"name":"n","variables":[{"name":"a","count":-1}]}"#, false),
        ("queued", #"{"name":"n","variables":[{"name":"a","count":100000},{"name":"b","count":100000}]}"#, false),
        (
            "queued", #"{"name":"n","total":1,"variables":[{"name":"a","count":100000},{"name":"b","count":100000}]}"#,
            true
        ),
        ("queued", #"{"name":"n","assignments_preview":{}}"#, false),
        (
            "queued",
            #"{"name":"n","kind":null,"total":null,"variables":null,"strategy":null,"assignments_preview":null}"#, true
        ),
        ("progress", "{}", false), ("progress", #"{"completed":null}"#, false),
        ("progress", #"{"completed":-1}"#, false),
        ("progress", #"{"completed":true}"#, false), ("progress", #"{"completed":11}"#, false),
        ("progress", #"{"completed":11,"total":11}"#, true),
        ("progress", #"{"completed":11,"total":0}"#, true), ("progress", #"{"completed":1,"message":1}"#, false),
        ("progress", #"{"completed":1,"runs":{}}"#, false), ("progress", #"{"completed":1,"runs":[1]}"#, false),
        ("progress", #"{"completed":1,"runs":[{}]}"#, false),
        ("progress", #"{"completed":1,"runs":[{"run_index":-1}]}"#, false),
        ("progress", #"{"completed":1,"runs":[{"run_index":1,"metrics":[]}]}"#, false),
        ("progress", #"{"completed":1,"runs":[{"run_index":1}]}"#, true),
        ("truncated", "{}", false), ("truncated", #"{"reason":""}"#, false),
        ("truncated", #"{"reason":"r","limit":"x"}"#, false),
        ("truncated", #"{"reason":"r","limit":1,"dropped":2}"#, true),
        ("finished", #"{"results":[]}"#, false), ("finished", #"{"results":{"runs":{}}}"#, false),
        ("finished", #"{"results":{"runs":[1]}}"#, false),
        ("finished", #"{"results":{"runs":[{}]}}"#, true), ("finished", #"{"view_url":1}"#, false),
        ("finished", "{}", true),
        ("finished", #"{"results":null,"view_url":null,"csv_url":null}"#, true),
        ("failed", "{}", false), ("failed", #"{"error":""}"#, false), ("failed", #"{"error":{}}"#, false),
        ("failed", #"{"error":"e","results":1}"#, false),
        ("failed", #"{"error":"e"}"#, true),
    ])
    func dataOfEachType(_ type: String, _ data: String, _ isAccepted: Bool) async throws {
        try await TestLedger.with { ledger async throws in
            if type != "queued" { try await ledger.queue("a", total: 10) }
            let answer = try await ledger.store.append([
                AppendRequest(job: "a", events: [NewEvent(type: type, data: data)])
            ])[0]
            switch answer {
            case .success: #expect(isAccepted, "\(type) \(data) was accepted")
            case .failure(let refusal): #expect(!isAccepted && refusal.code == .invalidEvent, "\(refusal)")
            }
        }
    }

    @Test func longURLsAreRefused() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            for (length, isAccepted) in [(501, false), (500, true)] {
                let url = String(repeating: "u", count: length)
                let answer = try await ledger.store.append(
                    [AppendRequest(job: "a", events: [NewEvent(type: "finished", data: #"{"view_url":"\#(url)"}"#)])])[
                        0]
                let wasAccepted = (try? answer.get()) != nil
                #expect(wasAccepted == isAccepted)
            }
        }
    }
}
