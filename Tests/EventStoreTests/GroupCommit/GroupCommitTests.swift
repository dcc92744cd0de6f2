import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Concurrent callers share a transaction, and nothing else.
@Suite(.timeLimit(.minutes(15))) struct GroupCommitTests {
    @Test func concurrentRequestsShareACommitAndKeepTheirAnswers() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.store.withGroupCommit(.patient) { commits in
                let holder = try await ledger.holdLog()
                let first = try await commits.beginInFlight(.queue("a"))
                let requests: [AppendRequest] = [
                    .progress("a"), .progress("ghost"), .queue("a"), .queue("b"),
                    AppendRequest(job: "b", events: [NewEvent(type: "finished")], expectedVersion: 7),
                    AppendRequest(job: "c\u{0}", events: [NewEvent(type: "queued", data: #"{"name":"n"}"#)]),
                    AppendRequest(job: "b", events: [NewEvent(type: "progress", data: "{}")]),
                    AppendRequest(
                        job: "c",
                        events: [
                            NewEvent(type: "queued", data: #"{"name":"n"}"#), NewEvent(type: "queued", data: "{}"),
                        ]),
                    AppendRequest(
                        job: "b",
                        events: [NewEvent(type: "progress", data: #"{"completed":1}"#), NewEvent(type: "finished")]),
                ]
                var tasks: [Task<[Appended], any Error>] = []
                for request in requests { tasks.append(try await commits.begin(request)) }
                try await ledger.release(holder)

                #expect(try await first.value.map(\.position) == [1])
                var outcomes: [String] = []
                for task in tasks {
                    do {
                        outcomes.append(try await task.value.map { "\($0.position)" }.joined(separator: " "))
                    } catch let refusal as Refusal {
                        outcomes.append(refusal.code.rawValue)
                    }
                }
                #expect(
                    outcomes == [
                        "2", "unknown_job", "already_queued", "3", "version_conflict", "invalid_event", "invalid_event",
                        "invalid_event",
                        "4 5",
                    ])
                #expect(commits.status.small.commits == 2)
                let written = [requests[0], requests[3], requests[8]].flatMap { $0.events.map(\.id) }
                #expect(try await ledger.log().dropFirst().map(\.id) == written)
            }
        }
    }

    @Test func cancelledWhileQueuedWritesNothing() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.store.withGroupCommit(.patient) { commits in
                let holder = try await ledger.holdLog()
                let first = try await commits.beginInFlight(.queue("first"))
                let cancelled = try await commits.begin(.queue("cancelled"))
                let neighbour = try await commits.begin(.queue("neighbour"))
                cancelled.cancel()
                await #expect(throws: CancellationError.self) { try await cancelled.value }
                #expect(commits.status.small.accepted == 1)
                try await ledger.release(holder)
                _ = try await (first.value, neighbour.value)
                #expect(try await ledger.log().map(\.job) == ["first", "neighbour"])
            }
        }
    }

    @Test func aCancelledTaskDoesNotEvenQueue() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.store.withGroupCommit(.patient) { commits in
                let task = Task {
                    withUnsafeCurrentTask { $0?.cancel() }
                    return try await commits.append(.queue("never"))
                }
                await #expect(throws: CancellationError.self) { try await task.value }
                _ = try await commits.append(.queue("b"))
                #expect(try await ledger.log().map(\.job) == ["b"])
            }
        }
    }

    /// The caller returns at once. The transaction continues for the other callers, and its own
    /// event is written.
    @Test func cancelledInFlightLeavesItsNeighboursAlone() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.store.withGroupCommit(.patient) { commits in
                let holder = try await ledger.holdLog()
                let opener = try await commits.beginInFlight(.queue("opener"))
                let request = AppendRequest.queue("cancelled")
                let cancelled = try await commits.begin(request)
                let neighbour = try await commits.begin(.queue("neighbour"))
                try await ledger.release(holder)
                _ = try await opener.value
                _ = try await neighbour.value

                let again = try await ledger.holdLog()
                let inFlight = try await commits.beginInFlight(.progress("cancelled"))
                inFlight.cancel()
                // The log is still held, so no answer was possible.
                await #expect(throws: CancellationError.self) { try await inFlight.value }
                try await ledger.release(again)
                _ = try await cancelled.value
                let next = try await commits.append(.progress("cancelled", 2))[0]
                #expect(next.position == 5 && next.version == 3, "what was in flight is written, in its order")
                #expect(try await commits.append(request)[0].isDuplicate)
            }
        }
    }

    /// A server process is stopped with a large request under way, which then takes arbitrarily
    /// long.
    @Test func aHugeOrSlowRequestDoesNotBlockSmallOnes() async throws {
        try await TestLedger.with { ledger async throws in
            // A stopped process reads nothing, and the kernel would close the connection after 30
            // s.
            var url = try #require(URLComponents(string: ledger.url))
            url.queryItems = (url.queryItems ?? []) + [URLQueryItem(name: "tcp_user_timeout", value: "0")]
            let store = EventStore(
                url: try #require(url.string), ledger: ledger.name, applicationName: "\(ledger.name)-large")
            try await store.withGroupCommit(.patient) { commits in
                _ = try await commits.append(
                    AppendRequest(
                        job: "huge",
                        events: [NewEvent(type: "queued", data: #"{"name":"n"}"#)]
                            + (0..<60).map { _ in AppendRequest.progress("huge").events[0] }))
                #expect(commits.status.large.commits == 1)
                let process: Int32 = try await ledger.store.pool.withConnection {
                    try await $0.query(
                        "SELECT pid FROM pg_stat_activity WHERE application_name = $1", "\(ledger.name)-large"
                    )
                    .only().decode(0)
                }
                try #require(kill(process, SIGSTOP) == 0)
                defer { kill(process, SIGCONT) }
                let huge = try await commits.begin(.progress("huge", 2, padding: 1 << 20))
                for number in 0..<50 { _ = try await commits.append(.queue("small-\(number)")) }
                // It may also be held back by a question that comes before it.
                #expect(commits.status.large.accepted + commits.status.large.inFlight == 1)
                kill(process, SIGCONT)
                #expect(try await huge.value[0].position == 112)
            }
            await store.close()
        }
    }

    @Test func whenTheQueueIsFullCallersWaitInOrder() async throws {
        try await TestLedger.with { ledger async throws in
            var settings = GroupCommit.Settings.patient
            settings.mostRequests = 3
            try await ledger.store.withGroupCommit(settings) { commits in
                let holder = try await ledger.holdLog()
                let first = try await commits.beginInFlight(.queue("0"))
                var tasks: [Task<[Appended], any Error>] = []
                for number in 1...9 { tasks.append(try await commits.begin(.queue("\(number)"))) }
                #expect(commits.status.small.accepted == 3 && commits.status.small.waiting == 6)
                // One accepted and one waiting request are cancelled.
                for index in [1, 6] {
                    tasks[index].cancel()
                    await #expect(throws: CancellationError.self) { try await tasks[index].value }
                }
                #expect(commits.status.small.accepted == 3 && commits.status.small.waiting == 4)
                try await ledger.release(holder)
                _ = try await first.value
                for index in tasks.indices where index != 1 && index != 6 { _ = try await tasks[index].value }
                #expect(try await ledger.log().map(\.job) == ["0", "1", "3", "4", "5", "6", "8", "9"])
                #expect(commits.status.small.commits == 4)
            }
        }
    }

    @Test func theQueueIsBoundedInBytesToo() async throws {
        try await TestLedger.with { ledger async throws in
            var settings = GroupCommit.Settings.patient
            settings.mostBytes = 10_000
            try await ledger.store.withGroupCommit(settings) { commits in
                _ = try await commits.append(.queue("a"))
                let holder = try await ledger.holdLog()
                var tasks = [try await commits.beginInFlight(.progress("a"))]
                for number in 1...5 { tasks.append(try await commits.begin(.progress("a", number, padding: 4000))) }
                #expect(commits.status.small.accepted == 2 && commits.status.small.waiting == 3)
                #expect(commits.status.small.acceptedBytes <= 10_000)
                // A request larger than the bound is accepted when it is the first.
                tasks.append(try await commits.begin(.progress("a", 6, padding: 20_000)))
                try await ledger.release(holder)
                for (index, task) in tasks.enumerated() {
                    #expect(try await task.value[0].position == Int64(index) + 2)
                }
            }
        }
    }

    /// A request that makes the server fail a whole call fails alone.
    @Test func aRequestThatFailsItsCallFailsAlone() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.store.pool.withConnection {
                try await $0.execute(
                    script: """
                        CREATE FUNCTION poisoned() RETURNS trigger LANGUAGE plpgsql AS
                          $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = 'data_exception'; END $$;
                        CREATE TRIGGER poisoned BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.stream_id = 'poison')
                          EXECUTE FUNCTION poisoned();
                        """)
            }
            try await ledger.store.withGroupCommit(.patient) { commits in
                let holder = try await ledger.holdLog()
                let first = try await commits.beginInFlight(.queue("first"))
                let (a, poison, b) = (
                    try await commits.begin(.queue("a")), try await commits.begin(.queue("poison")),
                    try await commits.begin(.queue("b"))
                )
                try await ledger.release(holder)
                _ = try await (first.value, a.value, b.value)
                let error = await #expect(throws: PostgresError.self) { try await poison.value }
                #expect(error?.message == "poison")
                #expect(try await ledger.log().map(\.job) == ["first", "a", "b"])
            }
        }
    }
}
