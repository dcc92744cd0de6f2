import EventStore
import Foundation
import LedgerCore
import Postgres

/// The HTTP service: the ledger as other services and browsers see it.
enum HTTPRows {
    static let append = "append over HTTP, one event a request, 64 keep-alive connections"
    static func idle(_ share: String) -> String { "append over HTTP answered → SSE client, idle, \(share)" }
    static func busy(_ share: String) -> String { "append over HTTP answered → SSE client, 2,000 events/s, \(share)" }
    static let crowd = "1,000 SSE clients on 200 jobs at 1,000 events/s: events not lost"
    static let crowdMemory = "memory of the service an SSE client, of 1,000"

    static func measure(_ bench: Bench) async throws {
        try await bench.part([append]) { bench in try await bench.withLedger { try await appends(bench, $0) } }
        try await bench.part([idle("p50"), idle("p99")]) { bench in
            try await bench.withLedger {
                try await latency(
                    bench, $0, samples: bench.options.size(300, quick: 40), every: .milliseconds(50),
                    [(idle("p50"), 0.5, 2), (idle("p99"), 0.99, 10)])
            }
        }
        try await bench.part([busy("p50"), busy("p99")]) { bench in
            try await bench.withLedger {
                try await latency(
                    bench, $0, samples: bench.options.size(20_000, quick: 2000), every: .microseconds(500),
                    [(busy("p50"), 0.5, nil), (busy("p99"), 0.99, 25)])
            }
        }
        try await bench.part([crowd, crowdMemory]) { bench in try await bench.withLedger { try await crowd(bench, $0) }
        }
    }

    private static func appends(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let inserts = try await SingleRows.plainInserts(bench, ledger, connections: 64)
        let jobs = (0..<64).map { JobID("backtest-over-http-\($0)") }
        try await ledger.queue(jobs)
        let time = bench.options.time(.seconds(2))
        return try await BenchService.with(bench, ledger) { service in
            let callers = try HTTPCallers(service, jobs: jobs)
            return try await Contest(
                rounds: bench.options.rounds(7),
                against: "64 libpq connections, one plain INSERT a transaction, prepared, no order", baseline: inserts,
                candidates: [
                    .init(work: append, target: .atLeast(1)) {
                        let start = ContinuousClock.now
                        let count = try await callers.run(until: start.advanced(by: time))
                        return Rate(events: count, elapsed: start.duration(to: .now))
                    }
                ]
            ).run()
        }
    }

    /// The time from the appender's answer to the subscriber's event; negative if the subscriber
    /// was faster.
    private static func latency(
        _ bench: Bench, _ ledger: BenchLedger, samples: Int, every pause: Duration,
        _ rows: [(work: String, share: Double, target: Double?)]
    ) async throws -> [BenchRow] {
        let jobs = (0..<64).map { JobID("backtest-over-http-\($0)") }
        try await ledger.queue(jobs)
        return try await bench.withProgram(["relay"], on: ledger.name) { _ in
            try await BenchService.with(bench, ledger) { service in
                let followers = try HTTPFollowers(service, paths: ["/v1/events?after=head"], recordsTimes: true)
                try await followers.begin()
                let callers = try HTTPCallers(service, jobs: jobs)
                // Warms up: everything has run once.
                _ = try await callers.run(1...200, every: .milliseconds(2))
                try await followers.read(until: 200, timeout: .seconds(10))
                async let reading: Void = followers.read(until: 200 + samples, timeout: .seconds(30))
                let start = ContinuousClock.now
                let answered = try await callers.run(1001...(1000 + samples), every: pause)
                let perSecond = Int(Double(samples) / (start.duration(to: .now) / .seconds(1)))
                try await reading
                let seen = await followers.seen
                let milliseconds = try answered.map { event, at in
                    guard let seen = seen[event] else { throw BenchFailure("event \(event) did not arrive") }
                    return Double(Int64(seen) - Int64(at)) / 1e6
                }
                return rows.map { row in
                    BenchRow(
                        row.work, ours: max(0, milliseconds.percentile(row.share)),
                        target: row.target.map { .atMost($0) },
                        unit: "ms",
                        note: """
                            \(samples) events at \(perSecond)/s, with a relay; 0 if the client had \
                            the event before the appender had its answer
                            """)
                }
            }
        }
    }

    private static func crowd(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let (clients, rate) = (bench.options.size(1000, quick: 100), 1000)
        let jobs = (0..<clients / 5).map { JobID("backtest-\($0)") }
        let events = bench.options.size(20_000, quick: 1000)
        try await ledger.queue(jobs)
        return try await bench.withProgram(["relay"], on: ledger.name) { _ in
            try await bench.withProgram(["project"], on: ledger.name) { _ in
                try await BenchService.with(bench, ledger) { service in
                    let callers = try HTTPCallers(service, jobs: jobs)
                    _ = try await callers.run(1...jobs.count, every: .milliseconds(1))
                    let before = service.program.memory("VmRSS")
                    let paths = (0..<clients).map { "/v1/jobs/\(jobs[$0 % jobs.count])/events" }
                    let followers = try HTTPFollowers(service, paths: paths, recordsTimes: false)
                    try await followers.begin()
                    // It is chance which of the callers' connections sends, so events are counted,
                    // not their senders.
                    let already = try await ledger.admin.query("SELECT count(*) FROM events").only().decode(
                        0, as: Int64.self)
                    let expected = (Int(already) + events) * 5
                    async let reading: Void = followers.read(until: expected, timeout: .seconds(30))
                    let start = ContinuousClock.now
                    _ = try await callers.run(1...events, every: .microseconds(1_000_000 / rate))
                    let perSecond = Int(Double(events) / (start.duration(to: .now) / .seconds(1)))
                    try await reading
                    let after = service.program.memory("VmRSS")
                    let received = await followers.received
                    return [
                        BenchRow(
                            crowd, ours: Double(received) / Double(expected), target: .atLeast(1), unit: "of all",
                            note: """
                                \(received) deliveries of \(events) events at \(perSecond)/s, \
                                each stream checked for order
                                """),
                        BenchRow(
                            crowdMemory, ours: (after - before) * 1024 / Double(clients), unit: "KB",
                            note: """
                                resident \(Int(before)) MB before the clients, \(Int(after)) MB \
                                with them after the events
                                """),
                    ]
                }
            }
        }
    }
}
