import AsyncHTTPClient
import EventStore
import Foundation
import LedgerClient
import LedgerCore
import LedgerServer
import LedgerTesting
import Postgres
import Testing

/// The client library against a service.
@Suite(.timeLimit(.minutes(10))) struct ClientTests {
    private static func client(_ service: TestService, url: String? = nil, token: String? = nil) throws -> LedgerClient
    {
        try LedgerClient(url: url ?? service.url, token: token ?? service.token)
    }

    /// Runs `body` with a proxy in front of the service, and the proxy's address.
    private static func withProxy(
        _ service: TestService, _ body: (CuttingProxy, String) async throws -> Void
    ) async throws {
        let port = try #require(URL(string: service.url)?.port)
        let proxy = try CuttingProxy(target: UInt16(port))
        defer { proxy.stop() }
        try await body(proxy, "http://127.0.0.1:\(proxy.port)")
    }

    private static func queued(_ total: Int = 0) -> NewEvent {
        NewEvent(type: "queued", data: #"{"name":"n","total":\#(total)}"#)
    }
    private static func progress(_ completed: Int) -> NewEvent {
        NewEvent(type: "progress", data: #"{"completed":\#(completed)}"#)
    }

    /// A subscription ends with the job, even without the types of its end.
    @Test func someTypesToTheEnd() async throws {
        try await TestService.with { service in
            let ledger = try Self.client(service)
            try await service.ledger.queue("a")
            try await service.ledger.progress("a", 1)
            _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "a")
            let followed = try await ledger.subscribe(job: "a", types: [.progress]).reduce(into: []) {
                $0.append($1.position)
            }
            #expect(followed == [2])
        }
    }

    /// Two jobs whose ids look alike are appended, read and followed separately.
    @Test func twoSpellings() async throws {
        try await TestService.with { service async throws in
            let ledger = try Self.client(service)
            try await ledger.withBatches { batches in
                for job in TwoSpellings.both {
                    _ = try await batches.append(
                        NewEvent(type: "queued", data: #"{"name":"n"}"#), to: job, expectedVersion: 0)
                }
            }
            _ = try await ledger.append(TwoSpellings.both.map { AppendRequest(job: $0, events: [Self.progress(1)]) })
            for job in TwoSpellings.both { _ = try await ledger.append(NewEvent(type: "finished"), to: job) }
            for (job, positions) in zip(TwoSpellings.both, [[1, 3, 5], [2, 4, 6]] as [[Position]]) {
                let history = try await ledger.history(of: job).reduce(into: []) { $0.append($1) }
                #expect(history.map(\.position) == positions && history.allSatisfy { $0.job == job })
                let followed = try await ledger.subscribe(job: job).reduce(into: []) { $0.append($1) }
                #expect(followed.map(\.position) == positions)
            }
            let both = try await ledger.subscribe(jobs: Set(TwoSpellings.both)).reduce(into: []) {
                $0.append($1.position)
            }
            #expect(both == Array(1...6))
        }
    }

    @Test func appendsAndReadsItsOwnWrites() async throws {
        try await TestService.with(projecting: true) { service async throws in
            let ledger = try Self.client(service)
            let job: JobID = #"a "job"/ü?&#"#
            #expect(try await ledger.job(job) == nil)
            let data = #"{"name":"n", "total":10,  "kind":"local"}"#
            let first = try await ledger.append(
                NewEvent(
                    type: "queued", data: data, metadata: #"{"actor":"ada","x":1}"#,
                    occurredAt: Timestamp("2026-01-02T03:04:05.5Z")),
                to: job, expectedVersion: 0)
            #expect(first.position == 1 && first.version == 1 && !first.isDuplicate)
            let more = try await ledger.append(
                [
                    NewEvent(type: "progress", data: #"{"completed":1,"runs":[{"run_index":0,"metrics":{"m":1}}]}"#),
                    Self.progress(2),
                ], to: job, expectedVersion: 1)
            #expect(more.map(\.position) == [2, 3])
            let row = try #require(try await ledger.job(job, minPosition: 3))
            #expect(
                row.job.status == .running && row.job.completed == 2 && row.job.total == 10 && row.job.kind == .local)
            #expect(row.job.createdAt == Timestamp("2026-01-02T03:04:05.5Z") && row.job.completedAt == nil)
            #expect(String(decoding: row.json, as: UTF8.self).contains(#""variables":[]"#))
            #expect(try await ledger.job(job, at: 1)?.job.status == .queued)
            #expect(
                try await ledger.jobs(status: .running, kind: .local).reduce(into: []) { $0.append($1.id) } == [job])
            #expect(try await ledger.jobs(status: .failed).reduce(into: []) { $0.append($1.id) } == [])
            _ = try await eventually("the runs are folded") {
                try await ledger.runs(of: job).reduce(into: 0) { count, _ in count += 1 } == 1 ? true : nil
            }
            let history = try await ledger.history(of: job).reduce(into: []) { $0.append($1) }
            #expect(history.map(\.version) == [1, 2, 3] && history[0].data == data && history[0].actor == "ada")
            #expect(try await ledger.events(after: 1).reduce(into: []) { $0.append($1.position) } == [2, 3])
            #expect(try await ledger.events(after: 3).reduce(into: []) { $0.append($1.position) } == [])
            let beyond = await #expect(throws: LedgerClientError.self) {
                for try await _ in ledger.events(after: 4) {}
            }
            #expect(beyond?.kind == .anotherLedger)
        }
    }

    @Test func refusalsAreTyped() async throws {
        try await TestService.with { service async throws in
            let ledger = try Self.client(service)
            func refusal(_ body: () async throws -> Void) async -> Refusal.Code? {
                do { try await body() } catch { return (error as? Refusal)?.code }
                return nil
            }
            #expect(await refusal { try await ledger.append(Self.progress(1), to: "ghost") } == .unknownJob)
            let queued = Self.queued()
            try await ledger.append(queued, to: "a")
            #expect(try await ledger.append(queued, to: "a").isDuplicate)
            #expect(await refusal { try await ledger.append(queued, to: "b") } == .eventIDConflict)
            #expect(await refusal { try await ledger.append(Self.queued(), to: "a") } == .alreadyQueued)
            #expect(
                await refusal { try await ledger.append(Self.progress(1), to: "a", expectedVersion: 7) }
                    == .versionConflict)
            #expect(
                await refusal { try await ledger.append([Self.progress(1), NewEvent(type: "?")], to: "a") }
                    == .invalidEvent)
            // Text that would change the JSON around it.
            let trick = NewEvent(type: "progress", data: #"{"completed":1}},{"type":"finished","data":{}"#)
            #expect(await refusal { try await ledger.append(trick, to: "a") } == .invalidEvent)
            let answers = try await ledger.append(
                [Self.progress(1), trick, NewEvent(type: "failed"), Self.progress(2)].map {
                    AppendRequest(job: "a", events: [$0])
                })
            #expect(answers.map { try? $0.get()[0].version } == [2, nil, nil, 3])
            #expect(try await service.ledger.count() == 3)
        }
    }

    @Test func aTokenThatDoesNotSufficeFailsAtOnce() async throws {
        try await TestService.with { service async throws in
            for token in ["wrong", try await service.tokens.create([.read], name: "reader").text] {
                let ledger = try Self.client(service, token: token)
                let error = await #expect(throws: LedgerClientError.self) {
                    try await ledger.append(Self.queued(), to: "a")
                }
                #expect(error?.kind == .unauthorized)
            }
            #expect(throws: LedgerClientError.self) { try LedgerClient(url: "ledger.example", token: nil) }
        }
    }

    /// If an answer is lost, the event is written exactly once.
    @Test func aRequestWithALostAnswerIsRepeated() async throws {
        try await TestService.with { service async throws in
            try await Self.withProxy(service) { proxy, url async throws in
                let ledger = try Self.client(service, url: url)
                for number in 1...5 {
                    proxy.loseAnswer(toRequestWith: "job-\(number)")
                    let appended = try await ledger.append(Self.queued(), to: "job-\(number)")
                    #expect(appended.position == Position(number) && appended.isDuplicate)
                }
                #expect(proxy.lost == 5)
            }
            #expect(try await service.ledger.count() == 5)
        }
    }

    @Test func concurrentCallersShareRequests() async throws {
        try await TestService.with { service async throws in
            let ledger = try Self.client(service)
            try await ledger.withBatches { batches in
                try await batches.append(Self.queued(), to: "a")
                try await withThrowingTaskGroup(of: Bool.self) { group in
                    for number in 0..<300 {
                        group.addTask {
                            let event = number % 10 == 0 ? NewEvent(type: "?") : Self.progress(number)
                            do { return try await batches.append(event, to: "a").version > 1 } catch is Refusal {
                                return false
                            }
                        }
                    }
                    let appended = try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                    #expect(appended == 270)
                }
                let cancelled = Task { try await batches.append(Self.progress(1), to: "a") }
                cancelled.cancel()
                await #expect(throws: CancellationError.self) { try await cancelled.value }
            }
            let count = try await service.ledger.count()
            #expect(count == 271 || count == 272)
        }
    }

    /// Connections break in the middle of events, again and again. Each event arrives once, in
    /// order, and complete.
    @Test func aSubscriptionSurvivesItsConnections() async throws {
        try await TestService.with { service async throws in
            try await Self.withProxy(service) { proxy, url async throws in
                proxy.breakConnections(after: 20_000)
                let ledger = try Self.client(service, url: url)
                let last = 400
                let appending = try Self.client(service)
                try await appending.append(Self.queued(), to: "a")
                try await appending.append(Self.queued(), to: "b")
                async let all = ledger.subscribe().prefix(last + 3).reduce(into: []) { $0.append($1) }
                async let ofJob = ledger.subscribe(after: 1, job: "a", types: [.progress, .finished]).reduce(into: []) {
                    $0.append($1)
                }
                for count in 1...last {
                    let message = String(repeating: "x", count: count == 200 ? 100_000 : 300)
                    // An event that is longer than a connection lasts could never arrive.
                    if count == 199 { proxy.breakConnections(after: nil) }
                    if count == 201 { proxy.breakConnections(after: 20_000) }
                    try await appending.append(
                        NewEvent(type: "progress", data: #"{"completed":\#(count),"message":"\#(message)"}"#),
                        to: count % 2 == 0 ? "a" : "b")
                }
                proxy.breakConnections(after: nil)
                try await appending.append(NewEvent(type: "finished"), to: "a")
                let positions = try await all.map(\.position)
                #expect(positions == (1...Position(last + 3)).map { $0 })
                let events = try await ofJob
                #expect(events.map(\.version) == (2...Int32(last / 2 + 2)).map { $0 })
                #expect(events.allSatisfy { $0.data != nil } && events.contains { $0.data?.utf8.count ?? 0 > 100_000 })
                #expect(proxy.lost > 5)
            }
        }
    }

    /// The ledger loses an event while a client follows, which has that event.
    @Test func aSubscriptionIsToldWhatIsGone() async throws {
        try await TestService.with { service async throws in
            let ledger = try Self.client(service)
            for events in [ledger.subscribe(), ledger.subscribe(job: "a")] {
                try await ledger.append(Self.queued(), to: "a")
                var events = events.makeAsyncIterator()
                #expect(try await events.next()?.position == 1)
                try await service.ledger.lose(after: 0)
                let error = await #expect(throws: LedgerClientError.self) { _ = try await events.next() }
                #expect(error?.kind == .diverged && error?.divergence?.place == events.place)
                #expect(error?.divergence?.shared.position == 0 && error?.divergence?.head == 0)
            }
        }
    }

    /// It goes on with the ledger's own history, after its owner has dealt with the loss.
    @Test func aSubscriptionGoesOnAfterALoss() async throws {
        try await TestService.with { service async throws in
            let ledger = try Self.client(service)
            for job in ["a", "b"] { try await ledger.append(Self.queued(), to: JobID(job)) }
            let (losses, loss) = AsyncStream<Divergence>.makeStream()
            var events = ledger.subscribe().goingOn { loss.yield($0) }.makeAsyncIterator()
            for position in 1...2 { #expect(try await events.next()?.position == Position(position)) }
            let before = events.place

            try await service.ledger.lose(after: 1)
            try await ledger.append(Self.queued(), to: "c")
            let event = try await events.next()
            #expect(event?.position == 2 && event?.job == "c")
            var told = losses.makeAsyncIterator()
            let divergence = await told.next()
            #expect(divergence?.place == before && divergence?.shared.position == 1)

            // A place that was kept goes on by itself.
            try await ledger.append(Self.queued(), to: "d")
            var later = ledger.subscribe(after: events.place).makeAsyncIterator()
            #expect(try await later.next()?.job == "d")
        }
    }
}
