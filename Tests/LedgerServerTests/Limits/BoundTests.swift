import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

@Suite("limits of what a request may cost") struct BoundTests {
    @Test("four million empty items are refused before they are parsed") func items()
        async throws
    {
        try await TestService.with { service in
            let many = "[" + String(repeating: "{},", count: 4_000_000) + "{}]"
            async let refused = service.ask("POST", "/v1/events", many)
            async let whole = service.ask("POST", "/v1/jobs/a/events", many)
            for answer in try await [refused, whole] {
                #expect(answer.status == 413 && answer.code == "too_large", "\(answer)")
            }
            let most =
                "[" + Array(repeating: #"{"job":"a","type":"progress"}"#, count: 10_000).joined(separator: ",") + "]"
            let answer = try await service.ask("POST", "/v1/events", most)
            #expect(answer.status == 200 && answer.json["results"].elements.count == 10_000)
        }
    }

    @Test("large bodies are parsed outside the event loops: other requests are answered meanwhile") func alive()
        async throws
    {
        try await TestService.with { service in
            let zeros = String(repeating: "0,", count: 300_000) + "0"
            let large = #"{"type":"queued","data":{"name":"x","parameters":{"zeros":[\#(zeros)]}}}"#
            try await expectAnswers(from: service, meanwhile: ["a", "b", "c", "d"]) { job in
                let answer = try await service.append(large, to: job)
                #expect(answer.status == 201, "\(answer)")
            }
        }
    }

    @Test("the metadata of refused events is parsed there too, and the actor is recorded")
    func aliveWhileRefusing()
        async throws
    {
        try await TestService.with { service in
            let many = (0..<150_000).map { _ in "\"a\":1," }.joined()
            let large = #"{"job":"gone","type":"progress","data":{"completed":1},"metadata":{\#(many)"actor":"ada"}}"#
            let paths = ["/v1/events", "/v1/jobs/gone/events", "/v1/events", "/v1/jobs/gone/events"]
            try await expectAnswers(from: service, meanwhile: paths) { path in
                let isMany = path == "/v1/events"
                let answer = try await service.ask(
                    "POST", path, isMany ? "[\(large)]" : large.replacing("\"job\":\"gone\",", with: ""))
                #expect(answer.status == (isMany ? 200 : 413), "\(answer)")
            }
            _ = try await eventually("the actor is recorded") {
                try await service.ask("GET", "/v1/audit/refusals?actor=ada").json["refusals"].elements.isEmpty
                    ? nil : true
            }
        }
    }

    /// Sends all of it at once. An event loop that parsed a body itself would be silent for most of
    /// that request's time, on any machine.
    private func expectAnswers(
        from service: TestService, meanwhile large: [String], _ send: @escaping @Sendable (String) async throws -> Void
    ) async throws {
        let isOver = StopSignal()
        async let longest = longestSilence(of: service, until: isOver)
        let slowest = try await withThrowingTaskGroup(of: Duration.self) { group in
            for item in large {
                group.addTask {
                    let start = ContinuousClock.now
                    try await send(item)
                    return start.duration(to: .now)
                }
            }
            return try await group.reduce(Duration.zero) { max($0, $1) }
        }
        isOver.set()
        let silence = try await longest
        #expect(silence < slowest / 2, "silent for \(silence) of \(slowest)")
    }

    private func longestSilence(of service: TestService, until isOver: StopSignal) async throws -> Duration {
        var longest = Duration.zero
        while !isOver.isSet {
            let start = ContinuousClock.now
            #expect(try await service.ask("GET", "/livez", token: "").status == 200)
            longest = max(longest, start.duration(to: .now))
        }
        return longest
    }

    @Test("a page scans a limited number of events, and says where the next page begins") func rows() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            // More events than one page scans.
            let total = Int(EventPages.scanLimit) + 2000
            for start in stride(from: 0, to: total, by: 1000) {
                let events = (start..<start + 1000).map { NewEvent(type: "progress", data: #"{"completed":\#($0)}"#) }
                _ = try await service.ledger.store.append([AppendRequest(job: "a", events: events)])
            }
            _ = try await service.ledger.store.append(NewEvent(type: "truncated", data: #"{"reason":"r"}"#), to: "a")
            for path in ["/v1/events?type=truncated&limit=1000", "/v1/jobs/a/events?type=truncated"] {
                let first = try await service.ask("GET", path).json
                #expect(first["events"].elements.isEmpty, "\(path)")
                let next = try #require(first["next"].text)
                #expect(next.hasSuffix("after=\(EventPages.scanLimit)"), "\(next)")
                let second = try await service.ask("GET", next).json
                #expect(second["events"].elements.count == 1 && second["next"].text == nil, "\(path)")
            }
            // A stream continues by itself.
            var stream = try await service.stream("/v1/events?type=truncated")
            #expect(try await stream.next()?.position == Int64(total + 2))
        }
    }

    /// Locks a table, so that reads of it wait.
    private func holding<Value: Sendable>(
        _ table: String, of ledger: TestLedger, _ body: () async throws -> Value
    ) async throws -> Value {
        let holder = try await ledger.connect()
        let value = try await holder.transaction { connection in
            try await connection.execute(script: "LOCK TABLE \(table) IN ACCESS EXCLUSIVE MODE")
            return try await body()
        }
        await holder.close()
        return value
    }

    private func readers(_ ledger: TestLedger) async throws -> Int64 {
        try await ledger.store.pool.withConnection {
            try await $0.query(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active'",
                "jobledger serve reads \(ledger.name)"
            ).only().decode(0)
        }
    }

    @Test("a read that takes too long is cancelled, and its reader released") func time() async throws {
        try await TestService.with(projecting: true, settings: .changed { ($0.read, $0.readers) = (.seconds(1), 1) }) {
            service in
            try await service.ledger.queue("a")
            #expect(try await service.ask("GET", "/v1/jobs/a?min_position=1").status == 200)
            try await holding("batch_jobs", of: service.ledger) {
                let answer = try await service.ask("GET", "/v1/jobs/a")
                #expect(answer.status == 503 && answer.code == "too_slow", "\(answer)")
                #expect(answer.headers["retry-after"] != nil)
                #expect(try await readers(service.ledger) == 0)
                #expect(try await service.ask("GET", "/v1/events").status == 200)
            }
        }
    }

    @Test("a read whose client has gone is cancelled", arguments: [true, false]) func gone(isReset: Bool) async throws {
        try await TestService.with(projecting: true, settings: .changed { $0.read = .seconds(300) }) { service in
            try await service.ledger.queue("a")
            #expect(try await service.ask("GET", "/v1/jobs/a?min_position=1").status == 200)
            try await holding("batch_jobs", of: service.ledger) {
                let raw = try RawConnection(service.url)
                try raw.send(RawRequest.get("/v1/jobs/a", service.token))
                _ = try await eventually("the read has begun") {
                    try await readers(service.ledger) == 1 ? true : nil
                }
                if isReset { raw.reset() } else { raw.close() }
                _ = try await eventually("the read is cancelled") {
                    try await readers(service.ledger) == 0 ? true : nil
                }
            }
        }
    }

    @Test("a token's slow reads leave readers to others") func share() async throws {
        try await TestService.with(projecting: true, settings: .changed { ($0.read, $0.readers) = (.seconds(300), 4) })
        {
            service in
            try await service.ledger.queue("a")
            #expect(try await service.ask("GET", "/v1/jobs/a?min_position=1").status == 200)
            let other = try await service.tokens.create([.read])
            try await holding("batch_jobs", of: service.ledger) {
                let slow = try (0..<12).map { _ in
                    let raw = try RawConnection(service.url)
                    try raw.send(RawRequest.get("/v1/jobs/a", service.token))
                    return raw
                }
                _ = try await eventually("three reads are under way") {
                    try await readers(service.ledger) == 3 ? true : nil
                }
                #expect(try await service.ask("GET", "/v1/events", token: other.text).status == 200)
                for raw in slow { raw.reset() }
            }
            try await service.expectNothingHeld()
        }
    }

    @Test("a holder gets its share of places and no more; its waiters get places in order, or are cancelled")
    func fairShare()
        async throws
    {
        let share = FairShare<String>(share: 2)
        let (order, told) = AsyncStream<Int>.makeStream()
        let gates = (0..<3).map { _ in StopSignal() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<3 {
                group.addTask {
                    try await share.withPlace(of: "a") {
                        told.yield(number)
                        await gates[number].wait()
                    }
                }
                if number < 2 { _ = await order.first { $0 == number } }
            }
            let cancelled = Task { try await share.withPlace(of: "a") {} }
            cancelled.cancel()
            await #expect(throws: CancellationError.self) { try await cancelled.value }
            // Another holder does not wait.
            try await share.withPlace(of: "b") { #expect(share.held == 3) }
            gates[0].set()
            #expect(await order.first { _ in true } == 2)
            for gate in gates { gate.set() }
            try await group.waitForAll()
        }
        #expect(share.held == 0)
    }
}
