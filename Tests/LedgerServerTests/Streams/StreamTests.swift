import AsyncHTTPClient
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Testing

@testable import LedgerServer

@Suite("event streams over HTTP") struct StreamTests {
    @Test("a stream has past events, then new ones, to the job's end; then 204") func toTheEnd() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            try await service.ledger.queue("b")
            var stream = try await service.stream("/v1/jobs/a/events")
            #expect(stream.status == 200 && stream.type == "text/event-stream")
            #expect(try await stream.next()?.position == 1)
            #expect(stream.retries == [1000])
            for number in 1...3 { try await service.ledger.progress("a", number) }
            try await service.ledger.progress("b", 1)
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "a")
            let rest = try await stream.all()
            #expect(rest.map(\.position) == [3, 4, 5, 7])
            #expect(rest.map(\.type) == ["progress", "progress", "progress", "finished"])
            #expect(try await service.stream("/v1/jobs/a/events", headers: ["last-event-id": "7"]).status == 204)
            #expect(try await service.stream("/v1/jobs/a/events?last_event_id=7").status == 204)
            // A client that has not seen the end gets it.
            var late = try await service.stream("/v1/jobs/a/events", headers: ["last-event-id": "5"])
            #expect(try await late.all().map(\.position) == [7])
        }
    }

    @Test("a stream can wait for a job that does not exist yet") func beforeTheJob() async throws {
        try await TestService.with { service in
            var stream = try await service.stream("/v1/jobs/a/events")
            try await service.ledger.queue("a")
            #expect(try await stream.next()?.type == "queued")
        }
    }

    @Test("a stream resumes at the client's position, and the header overrides the address") func resume() async throws
    {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            for number in 1...9 { try await service.ledger.progress("a", number) }
            var byQuery = try await service.stream("/v1/events?last_event_id=8")
            #expect(try await byQuery.next(2).map(\.position) == [9, 10])
            var byHeader = try await service.stream(
                "/v1/events?last_event_id=2&after=1", headers: ["last-event-id": "9"])
            #expect(try await byHeader.next()?.position == 10)
            var byVersion = try await service.stream("/v1/jobs/a/events?after=9")
            #expect(try await byVersion.next()?.position == 10)
            var fromNow = try await service.stream("/v1/events?after=head")
            try await service.ledger.progress("a", 10)
            #expect(try await fromNow.next()?.position == 11)
            #expect(try await service.stream("/v1/events?last_event_id=99").status == 409)
            #expect(try await service.stream("/v1/events", headers: ["last-event-id": "x"]).status == 400)
        }
    }

    @Test("a stream of several jobs ends when all of them have") func severalJobs() async throws {
        try await TestService.with { service in
            for job in ["a", "b", "c"] { try await service.ledger.queue(job) }
            var stream = try await service.stream("/v1/events?job=a&job=c")
            #expect(try await stream.next(2).map(\.job) == ["a", "c"])
            try await service.ledger.progress("b", 1)
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "a")
            try await service.ledger.progress("c", 1)
            _ = try await service.ledger.store.append(NewEvent(type: "failed", data: #"{"error":"e"}"#), to: "c")
            let rest = try await stream.all()
            #expect(rest.map(\.position) == [5, 6, 7])
            #expect(try await service.stream("/v1/events?job=a&job=c&last_event_id=7").status == 204)
            var again = try await service.stream("/v1/events?job=a&job=c&last_event_id=4")
            #expect(try await again.all().map(\.position) == [5, 6, 7])
        }
    }

    @Test("two jobs whose ids look alike are two, on one stream and on separate ones") func twoSpellings() async throws
    {
        try await TestService.with { service in
            let (one, other) = (TwoSpellings.composed, TwoSpellings.decomposed)
            for job in TwoSpellings.both { try await service.ledger.queue(job) }
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: one)
            let path = "/v1/events?job=\(Query.encoded(one))&job=\(Query.encoded(other))"
            // The end of one job does not end the stream of both.
            var both = try await service.stream("\(path)&last_event_id=3")
            var alone = try await service.stream("/v1/jobs/\(Query.encoded(other))/events")
            #expect(both.status == 200 && alone.status == 200)
            #expect(try await service.stream("/v1/jobs/\(Query.encoded(one))/events?last_event_id=3").status == 204)
            _ = try await service.ledger.store.append(NewEvent(type: "failed", data: #"{"error":"e"}"#), to: other)
            #expect(try await both.all().map(\.position) == [4])
            #expect(try await alone.all().map(\.position) == [2, 4])
        }
    }

    @Test("a stream of some types still ends with the job") func types() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            var stream = try await service.stream("/v1/jobs/a/events?type=queued")
            try await service.ledger.progress("a", 1)
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "a")
            #expect(try await stream.all().map(\.type) == ["queued"])
        }
    }

    @Test("a stream that joins while others append has every event once, in order") func joins() async throws {
        try await TestService.with { service in
            for job in 0..<5 { try await service.ledger.queue("j\(job)") }
            let total = 3000
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for start in stride(from: 0, to: total, by: 50) {
                        let requests = (start..<start + 50).map {
                            AppendRequest(
                                job: "j\($0 % 5)", events: [NewEvent(type: "progress", data: #"{"completed":\#($0)}"#)])
                        }
                        _ = try await service.ledger.store.append(requests)
                    }
                }
                for reader in 0..<8 {
                    group.addTask {
                        // Each begins at another length of the log.
                        _ = try await eventually("the log has grown") {
                            try await service.ledger.count() > reader * total / 10 ? true : nil
                        }
                        let job = reader.isMultiple(of: 2) ? nil : "j\(reader % 5)"
                        var stream = try await service.stream(job.map { "/v1/events?job=\($0)" } ?? "/v1/events")
                        let expected = job == nil ? Array(1...Int64(total + 5)) : []
                        let messages = try await stream.next(job == nil ? total + 5 : total / 5 + 1)
                        if job == nil {
                            #expect(messages.map(\.position) == expected)
                        } else {
                            #expect(messages.map { $0.json["streamversion"].number } == Array(1...(total / 5 + 1)))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("only progress is conflated, on request, and its last event is not lost") func conflated()
        async throws
    {
        try await TestService.with { service in
            for job in ["a", "b"] { try await service.ledger.queue(job) }
            var stream = try await service.stream("/v1/events?job=a&job=b&conflate=2")
            #expect(try await stream.next(2).count == 2)
            for number in 1...200 { try await service.ledger.progress(number.isMultiple(of: 2) ? "a" : "b", number) }
            _ = try await service.ledger.store.append(NewEvent(type: "truncated", data: #"{"reason":"r"}"#), to: "a")
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "a")
            try await service.ledger.progress("b", 201)
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "b")
            let messages = try await stream.all()
            #expect(messages.map(\.position) == messages.map(\.position).sorted())
            #expect(messages.filter { $0.type != "progress" }.map(\.type) == ["truncated", "finished", "finished"])
            let progress = messages.filter { $0.type == "progress" }
            #expect(progress.count < 60, "\(progress.count)")
            #expect(progress.last { $0.job == "a" }?.json["data"]["completed"].number == 200)
            #expect(progress.last { $0.job == "b" }?.json["data"]["completed"].number == 201)
            for bad in ["0", "101", "fast"] {
                #expect(try await service.stream("/v1/events?conflate=\(bad)").status == 400)
            }
        }
    }

    @Test("what conflation holds goes out at the end, even if the type of the end is not wanted")
    func conflatedToTheEnd()
        async throws
    {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            for number in 1...3 { try await service.ledger.progress("a", number) }
            var stream = try await service.stream("/v1/jobs/a/events?type=progress&conflate=0.1")
            _ = try await stream.next()
            for number in 4...7 { try await service.ledger.progress("a", number) }
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "a")
            #expect(try await stream.all().last?.json["data"]["completed"].number == 7)
        }
    }

    @Test(
        "a client that did not ask for the type of the end still learns that nothing follows",
        arguments: ["", "&conflate=1"])
    func endOfOthers(_ more: String) async throws {
        try await TestService.with { service in
            for job in ["a", "b"] { try await service.ledger.queue(job) }
            try await service.ledger.progress("a", 1)
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "a")
            _ = try await service.ledger.store.append(NewEvent(type: "failed", data: #"{"error":"e"}"#), to: "b")
            for (path, end) in [("/v1/jobs/a/events?type=queued", 4), ("/v1/events?job=a&job=b&type=progress", 5)] {
                var stream = try await service.stream(path + more)
                #expect(try await stream.all().count == 1)
                #expect(Place(stream.lastID)?.position == Position(end), "\(path)")
                #expect(try await service.stream(path + more, headers: ["last-event-id": stream.lastID]).status == 204)
            }
        }
    }

    @Test("a quiet stream sends heartbeats") func heartbeat() async throws {
        try await TestService.with(settings: .changed { $0.heartbeat = .seconds(1) }) { service in
            try await service.ledger.queue("a")
            var stream = try await service.stream("/v1/jobs/a/events")
            _ = try await stream.next()
            try await stream.skip(comments: 2)
            try await service.ledger.progress("a", 1)
            #expect(try await stream.next()?.position == 2)
        }
    }

    @Test("a stream ends with a hint to reconnect when the service stops") func stops() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            var streams: [EventReading] = []
            for _ in 0..<5 {
                var stream = try await service.stream("/v1/jobs/a/events")
                _ = try await stream.next()
                streams.append(stream)
            }
            await service.stop()
            for var stream in streams {
                #expect(try await stream.next() == nil)
                #expect(stream.retries == [1000, 2000])
            }
        }
    }

    /// The ledger loses events that clients have: one that follows, one that comes back.
    @Test("a client is told what the ledger no longer has, and gets the surviving history") func diverges()
        async throws
    {
        try await TestService.with { service in
            for job in ["a", "b"] { try await service.ledger.queue(job) }
            for count in 1...3 { try await service.ledger.progress("a", count) }
            var (all, ofJob) = (
                try await service.stream("/v1/events"), try await service.stream("/v1/jobs/a/events")
            )
            #expect(try await all.next(5).map(\.position) == [1, 2, 3, 4, 5])
            #expect(try await ofJob.next(4).map(\.position) == [1, 3, 4, 5])
            let place = try #require(Place(all.lastID))

            try await service.ledger.lose(after: 3)
            try await service.ledger.progress("b", 1)
            let now = try EpochDigits(await service.ledger.store.epoch())
            let shared = Place(3, epoch: now)
            let message = #"{"place":"\#(place)","shared":"\#(shared)","head":"4"}"#
            var back = try await service.stream("/v1/events", headers: ["last-event-id": place.text])
            for told in [try await all.next(), try await back.next()] {
                #expect(told?.name == "diverged" && told?.id == shared.text && told?.data == message, "\(told!)")
            }
            for event in [try await all.next(), try await back.next()] {
                #expect(event?.name == "" && event?.id == "4.\(now)" && event?.job == "b", "\(event!)")
            }
            // The stream of a job says so too, and waits for the job's next event.
            let told = try await ofJob.next()
            #expect(told?.name == "diverged" && told?.id == shared.text, "\(told!)")
            try await service.ledger.progress("a", 2)
            #expect(try await ofJob.next()?.id == "5.\(now)")

            // What both histories share costs nothing.
            let early = Place(2, epoch: place.epoch).text
            var unhurt = try await service.stream("/v1/events", headers: ["last-event-id": early])
            #expect(try await unhurt.next(3).map(\.id) == [3, 4, 5].map { "\($0).\(now)" })
        }
    }

    @Test("another epoch that lost nothing is not noticed") func newEpoch() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            var stream = try await service.stream("/v1/events")
            let first = try await stream.next()
            try await service.ledger.beginEpoch()
            try await service.ledger.progress("a", 1)
            let second = try await stream.next()
            #expect(second?.name == "" && second?.position == 2)
            #expect(Place(first?.id ?? "")?.epoch != Place(second?.id ?? "")?.epoch)
        }
    }

    @Test("a revoked token ends its streams") func revoked() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            let token = try await service.tokens.create([.read])
            var stream = try await service.stream("/v1/jobs/a/events", token: token.text)
            #expect(try await stream.next()?.position == 1)
            #expect(try await service.tokens.revoke(token.id))
            #expect(try await stream.next() == nil)
        }
    }

    @Test("each token has a limited number of streams, and closed ones no longer count") func limit() async throws {
        try await TestService.with(settings: .changed { $0.streamsPerToken = 2 }) { service in
            try await service.ledger.queue("a")
            var (one, two) = (try await service.stream("/v1/events"), try await service.stream("/v1/jobs/a/events"))
            _ = (try await one.next(), try await two.next())
            #expect(try await service.stream("/v1/events").status == 429)
            let other = try await service.tokens.create([.read])
            #expect(try await service.stream("/v1/events", token: other.text).status == 200)
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "a")
            _ = try await two.all()
            _ = try await eventually("there is room again") {
                try await service.stream("/v1/events").status == 200 ? true : nil
            }
        }
    }

    @Test("the token may be in the address of a stream, and of nothing else") func tokenInQuery() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            var stream = try await service.stream("/v1/events?access_token=\(service.token)", token: "")
            #expect(try await stream.next()?.position == 1)
            #expect(try await service.ask("GET", "/v1/events?access_token=\(service.token)", token: "").status == 401)
            #expect(try await service.ask("GET", "/v1/jobs?access_token=\(service.token)", token: "").status == 401)
            let append = try await service.ask(
                "POST", "/v1/events?access_token=\(service.token)", "[]", token: "",
                headers: ["accept": "text/event-stream"])
            #expect(append.status == 401)
        }
    }

    @Test("a client that does not read affects nobody else, and gets everything when it reads") func neverReads()
        async throws
    {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            // More than sockets, connection and subscription buffer hold together.
            let message = String(repeating: "x", count: 30_000)
            var slow = try await service.stream("/v1/events")
            _ = try await slow.next()
            var quick = try await service.stream("/v1/events")
            let total = 1500
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for start in stride(from: 0, to: total, by: 100) {
                        let events = (start..<start + 100).map {
                            NewEvent(type: "progress", data: #"{"completed":\#($0),"message":"\#(message)"}"#)
                        }
                        _ = try await service.ledger.store.append([AppendRequest(job: "a", events: events)])
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await quick.next(total + 1).map(\.position) == Array(1...Int64(total + 1)))
            #expect(try await slow.next(total).map(\.position) == Array(2...Int64(total + 1)))
        }
    }
}
