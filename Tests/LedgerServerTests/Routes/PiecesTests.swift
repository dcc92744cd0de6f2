import HTTPTypes
import LedgerCore
import LedgerSettings
import Testing

@testable import LedgerServer

@Suite("small parts of the HTTP service") struct PiecesTests {
    private func frame(_ position: Int64, _ job: JobID, _ type: EventType) -> FeedEvent {
        FeedEvent(
            RecordedEvent(
                position: position, id: .version7(), job: job, version: 1, type: type, data: "{}",
                recordedAt: Timestamp(microseconds: 0)),
            of: .standard)
    }

    @Test("conflation keeps the latest event of each job, and releases all in order before any other event")
    func conflation() throws {
        var conflation = Conflation(rate: 2)
        let start = ContinuousClock.now
        #expect(conflation.deadline == nil)
        // The first event goes out at once.
        #expect(conflation.take([frame(1, "a", .progress)], at: start).map(\.position) == [1])
        #expect(
            conflation.take([frame(2, "a", .progress), frame(3, "b", .progress), frame(4, "a", .progress)], at: start)
                .isEmpty)
        #expect(conflation.deadline == start.advanced(by: .milliseconds(500)))
        #expect(conflation.take(at: start.advanced(by: .milliseconds(499))).isEmpty)
        #expect(conflation.take(at: start.advanced(by: .milliseconds(500))).map(\.position) == [3, 4])
        #expect(conflation.deadline == nil)
        let out = conflation.take(
            [frame(5, "b", .progress), frame(6, "a", .finished), frame(7, "b", .progress)],
            at: start.advanced(by: .milliseconds(600)))
        #expect(out.map(\.position) == [5, 6])
        #expect(conflation.take(at: start.advanced(by: .seconds(2))).map(\.position) == [7])
        // Progress of another category is not of a job: it goes out.
        var other = frame(8, "a", .progress)
        other = FeedEvent(
            RecordedEvent(
                position: 8, id: other.id, category: try #require(Category("user")), job: "a", version: 1,
                type: .progress, data: "{}", recordedAt: other.recordedAt), of: .standard)
        #expect(conflation.take([other], at: start.advanced(by: .seconds(2))).map(\.position) == [8])
        // Two jobs whose ids look alike are two jobs.
        let alike = [frame(8, "jos\u{E9}", .progress), frame(9, "jose\u{301}", .progress)]
        #expect(conflation.take(alike, at: start.advanced(by: .seconds(4))).map(\.position) == [8, 9])
    }

    @Test("conflation holds a limited number of bytes, and releases them in order") func conflationBound() {
        var conflation = Conflation(rate: 0.1)
        let start = ContinuousClock.now
        let message = String(repeating: "x", count: 10_000)
        var (out, most): ([Int64], Int) = ([], 0)
        for position in 1...1000 as ClosedRange<Int64> {
            let event = FeedEvent(
                RecordedEvent(
                    position: position, id: .version7(), job: JobID("job-\(position)"), version: 2, type: .progress,
                    data: "{\"message\":\"\(message)\"}", recordedAt: Timestamp(microseconds: 0)),
                of: .standard)
            out += conflation.take([event], at: start).map(\.position)
            most = max(most, conflation.heldBytes)
        }
        #expect(most <= Conflation.maxBytes && most > Conflation.maxBytes / 2)
        out += conflation.release().map(\.position)
        #expect(out == Array(1...1000) && conflation.heldBytes == 0 && conflation.deadline == nil)
        // Many events of one job cost as much as one.
        for position in 1001...2000 as ClosedRange<Int64> {
            out += conflation.take([frame(position, "a", .progress)], at: start).map(\.position)
        }
        #expect(out.count == 1000 && conflation.heldBytes < 1000)
    }

    @Test("a slot returns one batch at a time, before anything except the end of the connection") func slot() async {
        func positions(_ item: StreamSlot.Item) -> [Int64] {
            if case .news(.events(let events, _)) = item { events.map(\.position) } else { [] }
        }
        let slot = StreamSlot()
        slot.tick()
        async let first: Void = slot.put(.events([frame(1, "a", .progress), frame(2, "a", .progress)], nil))
        // Either the tick or the batch may be first.
        if case .tick = await slot.next() {
            #expect(positions(await slot.next()) == [1, 2])
        } else {
            _ = await slot.next()
        }
        await first
        async let waiting = slot.next()
        slot.alarm()
        if case .alarm = await waiting {} else { Issue.record("no alarm") }
        slot.end(.stopped)
        slot.end(.ended)
        if case .stopped = await slot.next() {} else { Issue.record("not the first end") }
        async let second: Void = slot.put(.events([frame(3, "a", .progress)], nil))
        slot.close()
        // `put` does not wait for a stream that is gone.
        await second
        if case .closed = await slot.next() {} else { Issue.record("the close is not first") }
    }

    @Test("open streams are woken and ended, and so are later ones") func openStreams() async {
        let streams = OpenStreams()
        let (one, late) = (StreamSlot(), StreamSlot())
        let number = streams.enter(one)
        streams.tick()
        if case .tick = await one.next() {} else { Issue.record("no tick") }
        streams.end()
        if case .stopped = await one.next() {} else { Issue.record("no end") }
        _ = streams.enter(late)
        if case .stopped = await late.next() {} else { Issue.record("no end for the later stream") }
        streams.leave(number)
        #expect(streams.count == 1)
    }

    @Test("a token that is no longer valid closes its streams and no others") func reviewedStreams() async {
        let streams = OpenStreams()
        let (good, bad) = (AccessToken.random(), AccessToken.random())
        let slots = [StreamSlot(), StreamSlot(), StreamSlot(), StreamSlot()]
        for (slot, token) in zip(slots, [good, bad, bad, nil]) { _ = streams.enter(slot, token) }
        await streams.review { $0.id == good.id }
        streams.tick()
        for (slot, isClosed) in zip(slots, [false, true, true, false]) {
            switch await slot.next() {
            case .closed: #expect(isClosed)
            case .tick: #expect(!isClosed)
            default: Issue.record("neither closed nor woken")
            }
        }
    }

    @Test("queries are decoded strictly") func queries() throws {
        let query = try Query("a=1&b=x%20y+z&job=a%2Fb&job=c&empty=&%C3%BC=1")
        #expect(try query.text("b") == "x y z")
        #expect(query.all("job") == ["a/b", "c"])
        #expect(try query.text("empty") == "" && query.text("ü") == "1" && query.text("none") == nil)
        #expect(try query.integer("a", 0...5) == 1)
        #expect(throws: Problem.self) { try query.text("job") }
        #expect(throws: Problem.self) { try query.integer("b", 0...5) }
        #expect(throws: Problem.self) { try query.allow("a", "b") }
        for broken in ["a=%", "a=%4", "a=%gg", "a=%ff", "%=1", "a=%00"] {
            #expect(throws: Problem.self, "\(broken)") { try Query(broken) }
        }
        for text in ["a b/é😀?&=#%", "plain-._~"] { #expect(Query.decoded(Query.encoded(text)[...]) == text) }
    }

    @Test("routes match whole paths") func routes() {
        let route = Route(.get, "/v1/jobs/{id}/events", scope: .read) { _ in throw Problem.invalidRequest("") }
        func match(_ path: String) -> Substring? { route.match(Route.segments(path)) }
        #expect(match("/v1/jobs/a/events") == "a" && match("/v1/jobs/a%2Fb/events") == "a%2Fb")
        for path in [
            "/v1/jobs/a/events/", "/v1/jobs//events", "/v1/jobs/a", "v1/jobs/a/events", "/v1/jobs/a/b/events", "",
        ] {
            #expect(match(path) == nil, "\(path)")
        }
        let stream = Route(.get, "/v1/streams/{category}/{id}/events", scope: .read) { _ in
            throw Problem.invalidRequest("")
        }
        let sent = Route.segments("/v1/streams/user/u%2F1/events")
        #expect(stream.match(sent) == "u%2F1" && stream.category(in: sent) == "user")
        #expect(stream.match(Route.segments("/v1/streams//u/events")) == nil)
        #expect(stream.match(Route.segments("/v1/streams/user//events")) == nil)
        #expect(route.category(in: Route.segments("/v1/jobs/a/events")) == nil)
    }

    @Test("types are those of jobs, unless another category is named") func typesOfCategories() throws {
        let user = try #require(Category("user"))
        #expect(try Query("type=failed&type=queued").types() == [.failed, .queued])
        #expect(try Query("type=failed").types(of: .job) == [.failed])
        #expect(throws: Problem.self) { try Query("type=removed").types() }
        #expect(throws: Problem.self) { try Query("type=removed").types(of: .job) }
        #expect(
            try Query("type=removed&type=failed").types(of: user)?.map(\.rawValue).sorted() == ["failed", "removed"])
        #expect(throws: Problem.self) { try Query("type=Removed").types(of: user) }
        #expect(try Query("category=user").category() == user && Query("a=b").category() == nil)
        for query in ["category=User", "category=", "category=a&category=b", "category=a.b"] {
            #expect(throws: Problem.self, "\(query)") { try Query(query).category() }
        }
    }

    @Test("hosts that can only be this machine") func loopback() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "LOCALHOST"] {
            #expect(AllowedHosts.isLoopback(host), "\(host)")
        }
        for host in [
            "0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.com", "localhost.example.com", "127.0.0", "127.0.0.x",
            "example.com",
            "",
        ] {
            #expect(!AllowedHosts.isLoopback(host), "\(host)")
        }
    }

    @Test("malformed settings are errors that name them") func settings() throws {
        let defaults = HTTPSettings()
        #expect(
            defaults.host == "127.0.0.1" && defaults.port == nil && defaults.tls == nil && defaults.corsOrigins.isEmpty)
        #expect(defaults.bodyBytes == 16 << 20 && defaults.connections == 12_000)
        func settings(_ values: [String: String]) throws -> HTTPSettings { try HTTPSettings { values[$0] } }
        let set = try settings([
            "JOBLEDGER_HTTP_PORT": "0", "JOBLEDGER_HTTP_CORS_ORIGINS": "https://a.example, http://localhost:3000",
            "JOBLEDGER_HTTP_IDLE_SECONDS": "7",
        ])
        #expect(
            set.port == 0 && set.idle == .seconds(7)
                && set.corsOrigins == ["https://a.example", "http://localhost:3000"])
        for (name, value) in [
            ("PORT", "65536"), ("PORT", "http"), ("BODY_BYTES", "1"), ("BUFFER_BYTES", "x"), ("HEADER_BYTES", "-1"),
            ("CONNECTIONS", "0"),
            ("REQUEST_SECONDS", "1.5"), ("IDLE_SECONDS", "0"), ("STREAMS_PER_TOKEN", ""), ("WAIT_SECONDS", "301"),
            ("HEARTBEAT_SECONDS", "0"),
            ("GRACE_SECONDS", "301"), ("READERS", "0"), ("CORS_ORIGINS", "example.com"),
            ("CORS_ORIGINS", "https://a.example/path"),
            ("TLS_CERTIFICATE", "only.pem"), ("TLS_KEY", "only.pem"),
        ] {
            let name = "JOBLEDGER_HTTP_\(name)"
            #expect("\(name)=\(value)") { try settings([name: value]) } throws: { "\($0)".contains(name) }
        }
    }

    @Test("a malformed trace is ignored") func traces() {
        func context(_ value: String) -> TraceContext? { TraceContext([HTTPField.Name("traceparent")!: value]) }
        #expect(context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") != nil)
        for value in [
            "", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7-b7ad-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"", "x",
        ] {
            #expect(context(value) == nil, "\(value)")
        }
    }
}
