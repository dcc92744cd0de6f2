import EventStore
import Foundation
import LedgerCore

/// The time from just before an append until a subscriber in another process has the event. The
/// relay is a third process.
enum LatencyRows {
    static let names: [(key: String, text: String)] = [
        ("follow", "Feed"), ("plain", "bare RedisSubscription"),
    ]
    static func idle(_ share: String, _ way: String) -> String { "append → subscriber, idle, \(share) (\(way))" }
    static func busy(_ share: String, _ way: String) -> String {
        "append → subscriber, 2,000 events/s, \(share) (\(way))"
    }

    static func measure(_ bench: Bench) async throws {
        for (way, name) in names {
            // The target is for following with the library.
            let counts = way == "follow"
            try await bench.part([idle("p50", name), idle("p99", name)]) { bench in
                let samples = bench.options.size(300, quick: 40)
                return try await bench.withLedger { ledger in
                    let figures = try await run(bench, ledger, way, samples: samples) { append in
                        try await send(1...samples, callers: 1, every: .milliseconds(50), append)
                    }
                    let control = try await inserts(ledger, samples, every: .milliseconds(50))
                    return figures.rows(
                        idle("p50", name), idle("p99", name), counts ? 1.5 : nil, counts ? 5 : nil, control: control)
                }
            }
            try await bench.part([busy("p50", name), busy("p99", name)]) { bench in
                let samples = bench.options.size(20_000, quick: 2000)
                return try await bench.withLedger { ledger in
                    let figures = try await run(bench, ledger, way, samples: samples) { append in
                        try await send(1...samples, callers: 128, every: .microseconds(500), append)
                    }
                    return figures.rows(busy("p50", name), busy("p99", name), nil, counts ? 15 : nil)
                }
            }
        }
    }

    private static let plainInsert = """
        INSERT INTO inserted (position, event_id, stream_id, version, type, data, recorded_at)
        VALUES ($1::bigint, $2::uuid, 'backtest', $3::int, 'progress', $4::json, clock_timestamp())
        """

    /// How long a plain INSERT takes at the same pace: after a pause, caches are cold and cores
    /// asleep, and the disk varies.
    private static func inserts(_ ledger: BenchLedger, _ samples: Int, every pause: Duration) async throws -> [Double] {
        try await ledger.makeBareTable("inserted")
        let bare = try await ledger.bare()
        try await bare.prepare("insert", plainInsert)
        var milliseconds: [Double] = []
        for number in 1...samples {
            try await Task.sleep(for: pause)
            let start = monotonicNanoseconds()
            try await bare.execute(
                "insert",
                [
                    Int64(number).postgresBytes(), EventID.version7().postgresBytes(), Int32(number).postgresBytes(),
                    Filler.progress(number).postgresBytes(),
                ])
            milliseconds.append(Double(monotonicNanoseconds() - start) / 1e6)
        }
        return milliseconds
    }

    struct Times: Sendable {
        var number: Int
        var called: UInt64
        var answered: UInt64
    }

    /// Sends the numbered events on time, each `every` after the one before, by whichever caller is
    /// free.
    private static func send(
        _ numbers: ClosedRange<Int>, callers: Int, every pause: Duration, _ append: @escaping SingleAppend.Append
    ) async throws -> [Times] {
        let start = ContinuousClock.now.advanced(by: .milliseconds(20))
        return try await withThrowingTaskGroup(of: [Times].self) { group in
            for caller in 0..<callers {
                group.addTask {
                    var times: [Times] = []
                    for number in stride(from: numbers.lowerBound + caller, through: numbers.upperBound, by: callers) {
                        try await Task.sleep(until: start.advanced(by: pause * (number - numbers.lowerBound)))
                        let event = NewEvent(type: "progress", data: Filler.progress(number))
                        let called = monotonicNanoseconds()
                        _ = try await append(AppendRequest(job: job(caller), events: [event]))
                        times.append(Times(number: number, called: called, answered: monotonicNanoseconds()))
                    }
                    return times
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }

    private static func job(_ caller: Int) -> JobID { "backtest-of-caller-\(caller)" }

    private static func run(
        _ bench: Bench, _ ledger: BenchLedger, _ way: String, samples: Int,
        _ send: (@escaping SingleAppend.Append) async throws -> [Times]
    ) async throws -> Figures {
        try await ledger.queue((0..<128).map(job))
        let store = ledger.store()
        let figures = try await SingleAppend.with(store) { append in
            try await bench.withProgram(["relay"], on: ledger.name) { _ in
                try await bench.withProgram(["bench", "subscriber", way, "--events", "\(samples)"], on: ledger.name) {
                    subscriber in
                    // Sends events numbered 0 until the first of them arrives, which shows that
                    // everything is connected.
                    try await until("the subscriber receives", every: .milliseconds(50), within: .seconds(30)) {
                        let event = NewEvent(type: "progress", data: Filler.progress(0))
                        _ = try await append(AppendRequest(job: job(0), events: [event]))
                        return subscriber.printed().contains("ready")
                    }
                    try await Task.sleep(for: .milliseconds(500))
                    let times = try await send(append)
                    try await subscriber.finish(within: .seconds(120))
                    return try Figures(times, subscriber.printed())
                }
            }
        }
        await store.close()
        return figures
    }

    /// In milliseconds.
    private struct Figures: Sendable {
        var sinceCall: [Double] = []
        var sinceAnswer: [Double] = []
        var perSecond: Double

        init(_ times: [Times], _ printed: String) throws {
            var receipts: [Int: UInt64] = [:]
            for line in printed.split(separator: "\n") {
                let words = line.split(separator: " ")
                if words.count == 2, let number = Int(words[0]), let at = UInt64(words[1]) { receipts[number] = at }
            }
            for sent in times {
                guard let at = receipts[sent.number] else {
                    throw BenchFailure("event \(sent.number) was not received")
                }
                sinceCall.append(Double(Int64(at) - Int64(sent.called)) / 1e6)
                sinceAnswer.append(Double(Int64(at) - Int64(sent.answered)) / 1e6)
            }
            let first = times.map(\.called).min() ?? 0
            let last = times.map(\.answered).max() ?? 0
            perSecond = Double(times.count) / max(1e-9, Double(last - first) / 1e9)
        }

        /// - Parameter control: the times of plain INSERTs, in milliseconds; empty if there is
        ///   nothing to compare.
        func rows(
            _ median: String, _ tail: String, _ medianTarget: Double?, _ tailTarget: Double?, control: [Double] = []
        ) -> [BenchRow] {
            [(median, 0.5, medianTarget), (tail, 0.99, tailTarget)].map { work, share, target in
                let answered = sinceAnswer.percentile(share).rounded(digits: 3)
                return BenchRow(
                    work, ours: sinceCall.percentile(share),
                    baseline: control.isEmpty ? nil : control.percentile(share),
                    target: target.map { .atMost($0) }, unit: "ms",
                    against: control.isEmpty ? "" : "one plain INSERT, libpq, at the same pace, without a subscriber",
                    note:
                        "from the answer of the append \(answered) ms; \(sinceCall.count) events at \(Int(perSecond))/s"
                )
            }
        }
    }
}
