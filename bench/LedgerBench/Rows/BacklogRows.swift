import EventStore
import Feed
import Foundation
import LedgerCore
import Postgres
import Projections
import Redis

/// Work on a million events: a file to append, and a backlog to fold and to publish.
enum BacklogRows {
    static let file = "append --file, 1,000,000 mixed events over 100,000 jobs, as a process"
    static let interleaved = "live projection of batch_jobs, 1,000,000 events behind, 1,000 jobs interleaved"
    static let mixed = "live projection of batch_jobs, 1,000,000 events behind, the mixed file"
    static let runs = "live projection of batch_job_runs, 1,000,000 events behind, the mixed file"
    static let relay = "relay, 1,000,000 events behind, one subscriber"
    private static let reading =
        "reading the same events: libpq, binary, all columns, windows of 10,000, nothing decoded"
    /// Work on a million events takes longer only if something is broken.
    private static let timeout = Duration.seconds(900)

    static func measure(_ bench: Bench) async throws {
        let events = bench.options.size(1_000_000, quick: 20_000)
        let ofRuns = [runs] + FoldLimits.works("batch_job_runs")
        let needsFile = ([file, mixed] + ofRuns).contains(where: bench.options.wants)
        let log = needsFile ? try MixedLog(events: events, jobs: events / 10, in: bench.directory) : nil
        if let log {
            try await bench.part([file]) { bench in try await appendFile(bench, log) }
            try await bench.part([mixed] + ofRuns) { bench in
                try await bench.withLedger { ledger in
                    try await ledger.fill(copying: log)
                    var rows: [BenchRow] = []
                    if bench.options.wants(mixed) {
                        rows += try await project(bench, ledger, "batch_jobs", mixed, target: .atLeast(0.5))
                    }
                    if ofRuns.contains(where: bench.options.wants) {
                        let limits = FoldLimits.candidates("batch_job_runs", of: events, ledger)
                        rows += try await project(
                            bench, ledger, "batch_job_runs", runs, target: .atLeast(0.15), beside: limits)
                    }
                    return rows
                }
            }
            try log.remove()
        }
        try await RebuildRows.measure(bench, against: reading)
        let works = [interleaved, relay]
        guard works.contains(where: bench.options.wants) else { return }
        try await bench.part(works) { bench in
            try await bench.withLedger { ledger in
                try await FilledLog(jobsAtOnce: 1000, eventsPerJob: events / 1000).fill(ledger, events: events)
                var rows: [BenchRow] = []
                if bench.options.wants(interleaved) {
                    rows += try await project(bench, ledger, "batch_jobs", interleaved, target: .atLeast(0.5))
                }
                if bench.options.wants(relay) { rows += try await publish(bench, ledger) }
                return rows
            }
        }
    }

    private static func appendFile(_ bench: Bench, _ log: MixedLog) async throws -> [BenchRow] {
        try await bench.withLedger("bench_copied") { copied in
            try await Contest(
                rounds: bench.options.rounds(3), against: BatchRows.against,
                baseline: copied.copying(log),
                candidates: [
                    .init(
                        work: file, target: .atLeast(0.4),
                        note: "includes starting the process and reading the file"
                    ) {
                        try await bench.withLedger { ledger in
                            let rate = try await Rate.of(log.events) {
                                let arguments = ["append", "--file", log.lines.path, "--json"]
                                try await bench.withProgram(arguments, on: ledger.name) {
                                    try await $0.finish(within: timeout)
                                }
                            }
                            let head = try await ledger.head()
                            guard head == log.events else {
                                throw BenchFailure("\(head) of \(log.events) events were appended")
                            }
                            return rate
                        }
                    }
                ], warmsCandidates: false
            ).run()
        }
    }

    /// Runs the real projector from an empty table to the head.
    /// - Parameter others: further measurements, made when its tables are full.
    private static func project(
        _ bench: Bench, _ ledger: BenchLedger, _ name: String, _ work: String, target: BenchRow.Target?,
        beside others: [Contest.Candidate] = []
    ) async throws -> [BenchRow] {
        guard let definition = try ProjectionDefinition.all(in: nil).first(where: { $0.name == name }) else {
            throw BenchFailure("there is no projection \(name)")
        }
        let head = try await ledger.head()
        let store = ledger.store(connections: 2)
        let rows = try await Contest(
            rounds: bench.options.rounds(3), against: reading, baseline: try await ledger.readingTheLog(),
            candidates: [
                .init(work: work, target: target) {
                    for table in definition.tables {
                        try await ledger.admin.execute(script: "DROP TABLE IF EXISTS \(table)")
                    }
                    try await ledger.admin.query("DELETE FROM projections WHERE name = $1", name)
                    // With its tables in place the projector is live from the first event: nothing
                    // is bulk-loaded.
                    try await LiveProjection(definition: definition, ledger: ledger.name).install(on: ledger.admin)
                    try await ledger.settle()
                    let projector = Projector(definition, store: store, url: ledger.url, logger: .bench)
                    return try await Rate.of(Int(head)) {
                        try await during({ await projector.run() }) {
                            try await until("\(name) has come to \(head)", within: timeout) {
                                let states = try await ProjectionState.all(on: ledger.admin).filter { $0.name == name }
                                if let error = states.first?.stopped?.error {
                                    throw BenchFailure("\(name) stopped: \(error)")
                                }
                                return states.first?.position == head
                            }
                        }
                    }
                }
            ] + others, warmsCandidates: false
        ).run()
        await store.close()
        return rows
    }

    /// Runs the real relay from the start, until a subscriber in another process has received
    /// everything.
    private static func publish(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let (store, head) = (ledger.store(connections: 2), try await ledger.head())
        let redis = try RedisConfiguration(url: bench.redisURL)
        let rows = try await Contest(
            rounds: bench.options.rounds(3), against: reading, baseline: try await ledger.readingTheLog(),
            candidates: [
                .init(
                    work: relay, target: .atLeast(0.4),
                    note: "until the subscriber, another process, has received all of them"
                ) {
                    try await ledger.admin.query("DELETE FROM checkpoints WHERE reader = $1", Relay.reader)
                    try await ledger.settle()
                    return try await bench.withProgram(
                        ["bench", "subscriber", "count", "--events", "\(head)"], on: ledger.name
                    ) {
                        subscriber in
                        try await subscriber.says("ready", within: .seconds(20))
                        let relay = Relay(store: store, url: ledger.url, redis: redis, logger: .bench)
                        return try await Rate.of(Int(head)) {
                            try await during({ await relay.run() }) { try await subscriber.finish(within: timeout) }
                        }
                    }
                }
            ], warmsCandidates: false
        ).run()
        await store.close()
        return rows
    }
}
