import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Windows return the same events as a query, in chunks of any size, and wait for new events.
@Suite struct EventWindowTests {
    private static func fill(_ ledger: TestLedger, events: Int, seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let jobs = ["a", "job \"é\" 🙂", String(repeating: "j", count: 255)]
        for job in jobs { try await ledger.queue(job) }
        let requests = (0..<events).map { count in
            let size = random.below(20) == 0 ? 70_000 : Int(random.below(3_000))
            return AppendRequest(
                job: jobs[Int(random.below(3))],
                events: [
                    NewEvent(
                        type: "progress",
                        data: #"{"completed":\#(count),"message":"\#(String(repeating: "é", count: size / 2))"}"#,
                        metadata: random.below(2) == 0 ? "{}" : #"{"actor":"Zoë","n":[\#(count)]}"#,
                        occurredAt: random.below(2) == 0 ? nil : Timestamp(microseconds: Int64(random.below(1 << 50))))
                ])
        }
        _ = try await ledger.store.append(requests)
    }

    @Test func agreeWithAQuery() async throws {
        try await TestLedger.with { ledger async throws in
            let seed = UInt64.random(in: 0...UInt64.max)
            try await Self.fill(ledger, events: 300, seed: seed)
            let connection = try await ledger.connect()
            for largestData in [nil, 1_000, 64 << 10] {
                let expected = try await ledger.store.page(EventQuery(after: 7, limit: 200, largestData: largestData))
                for chunk in [1, 10_000, 1 << 20] {
                    let window = EventWindow(after: 7, limit: 200, largestData: largestData)
                    var read: [RecordedEvent] = []
                    for try await events in connection.events(in: window, chunk: chunk) {
                        read += events
                        // A chunk has at most the requested size and one more event, however large
                        // the window.
                        let bytes = events.dropLast().reduce(0) { $0 + ($1.data?.utf8.count ?? 0) }
                        #expect(bytes < chunk, "seed \(seed)")
                    }
                    #expect(read == expected, "seed \(seed)")
                }
            }
            // Beyond the head there is nothing, and no error.
            for try await events in connection.events(in: EventWindow(after: 303, limit: 10)) {
                #expect(events.isEmpty)
            }
            await connection.close()
        }
    }

    /// The window that waits sees the event that ends its wait.
    @Test func waitForEvents() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let process = await connection.serverProcess
            let waiting = Task {
                var read: [RecordedEvent] = []
                for try await events in connection.events(in: EventWindow(after: 0, limit: 10, timeout: .seconds(9))) {
                    read += events
                }
                return read
            }
            _ = try await eventually("it waits") {
                let active = """
                    SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'
                       AND query LIKE '%await_events%'
                    """
                let count: Int64 = try await ledger.store.pool.withConnection {
                    try await $0.query(active, process).only().decode(0)
                }
                return count == 1 ? true : nil
            }
            try await ledger.queue("a")
            #expect(try await waiting.value.map(\.position) == [1])
            // It ends when its timeout is over.
            var count = 0
            for try await events in connection.events(in: EventWindow(after: 1, limit: 10, timeout: .milliseconds(1))) {
                count += events.count
            }
            #expect(count == 0)
            await connection.close()
        }
    }

    /// A cancelled task does not wait, and its connection stays usable.
    @Test func cancellingEndsTheWait() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let waiting = Task {
                for try await _ in connection.events(in: EventWindow(after: 0, limit: 10, timeout: .seconds(9))) {}
            }
            waiting.cancel()
            // If it had waited until its timeout, there would be no error.
            await #expect(throws: (any Error).self) { try await waiting.value }
            #expect(try await connection.query("SELECT 42").only().decode(0) == Int32(42))
            await connection.close()
        }
    }
}
