import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Projections

extension ProjectionDefinition {
    static func builtIn(_ name: String) throws -> ProjectionDefinition { try all().first { $0.name == name }! }

    /// A small definition for tests: a table `name` with the columns id and count.
    static func counting(_ name: String, apply: String, schema: String? = nil) throws -> ProjectionDefinition {
        let manifest =
            #"{"name":"\#(name)","consumes":["queued","progress","finished"],"key":"stream_id","tables":["\#(name)"]}"#
        return try ProjectionDefinition(
            folder: name,
            files: [
                "projection.json": manifest,
                "schema.sql": schema ?? "CREATE TABLE \(name) (id text PRIMARY KEY, count bigint NOT NULL);",
                "apply.sql": apply,
            ])
    }
}

extension ProjectionDefinition {
    /// A table `counts` with one row for each job, whose count is 1.
    static func onePerJob(schema: String? = nil) throws -> ProjectionDefinition {
        try counting(
            "counts", apply: "INSERT INTO counts SELECT stream_id, 1 FROM new_events ON CONFLICT DO NOTHING",
            schema: schema)
    }

    /// A table `counts` with the number of events of each job.
    /// - Parameter more: further statements of the fold.
    static func countingEvents(and more: String = "") throws -> ProjectionDefinition {
        try counting(
            "counts",
            apply: """
                INSERT INTO counts SELECT stream_id, count(*) FROM new_events GROUP BY stream_id
                ON CONFLICT (id) DO UPDATE SET count = counts.count + excluded.count;
                \(more)
                """)
    }
}

extension TestLedger {
    func projector(
        _ definition: ProjectionDefinition, window: Int = 100, leaseTimes: LeaseTimes = .standard
    ) -> Projector {
        var logger = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .critical
        return Projector(
            definition, store: store, url: url, window: window, leaseTimes: leaseTimes, logger: logger)
    }

    /// Runs a projector for each definition while `body` runs.
    func projecting<T: Sendable>(
        _ definitions: [ProjectionDefinition], window: Int = 100, leaseTimes: LeaseTimes = .standard,
        _ body: () async throws -> T
    ) async throws -> T {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for definition in definitions {
                let projector = projector(definition, window: window, leaseTimes: leaseTimes)
                group.addTask { await projector.run() }
            }
            let result = try await body()
            group.cancelAll()
            return result
        }
    }

    func state(_ name: String) async throws -> ProjectionState? {
        try await store.pool.withConnection { try await ProjectionState.all(on: $0).first { $0.name == name } }
    }

    /// Waits until the projection has reached the head.
    func caughtUp(_ name: String) async throws {
        let head = try await store.head()
        _ = try await eventually("\(name) has reached \(head)") {
            try await state(name)?.position == head ? true : nil
        }
    }

    func rebuild(_ definition: ProjectionDefinition, window: Int = 10_000) async throws -> Rebuild.Receipt {
        let connection = try await connect()
        let receipt = try await Rebuild(definition, ledger: name, window: window).run(on: connection)
        await connection.close()
        return receipt
    }

    func verify(_ definition: ProjectionDefinition) async throws -> Verification.Finding {
        let connection = try await connect()
        let finding = try await Verification(definition, ledger: name).run(on: connection)
        await connection.close()
        return finding
    }

    /// Appends a random history: jobs in every state, progress out of order, runs reported twice.
    func appendHistory(jobs: Int, events: Int, seed: UInt64) async throws {
        var state = seed
        func below(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(limit))
        }
        var requests = (0..<jobs).map {
            AppendRequest(
                job: "job \($0) of \(seed)",
                events: [NewEvent(type: "queued", data: #"{"name":"n","total":\#(below(2) * 50)}"#)])
        }
        for _ in 0..<events {
            let event =
                switch below(40) {
                case 0: NewEvent(type: "truncated", data: #"{"reason":"r"}"#)
                case 1: NewEvent(type: "failed", data: #"{"error":"e"}"#)
                case 2: NewEvent(type: "finished", data: #"{"results":{"runs":[{"metrics":{"m":\#(below(9))}},{}]}}"#)
                default:
                    progress(completed: below(50), run: below(20), metric: below(1000))
                }
            requests.append(AppendRequest(job: "job \(below(jobs)) of \(seed)", events: [event]))
        }
        // Events behind the end of a job are refused, as they should be.
        _ = try await store.append(requests, timeout: .seconds(60))
    }

    private func progress(completed: Int, run: Int, metric: Int) -> NewEvent {
        let runs = #"[{"run_index":\#(run),"metrics":{"m":\#(metric)}}]"#
        return NewEvent(type: "progress", data: #"{"completed":\#(completed),"runs":\#(runs)}"#)
    }
}

extension TestLedger {
    /// The schemas of unfinished rebuilds and of replaced tables.
    func schemasBeside() async throws -> [String] {
        try await store.pool.withConnection { connection in
            try await connection.query(
                "SELECT nspname::text FROM pg_namespace WHERE nspname ~ ('^' || $1 || '[-~]')", name.text
            ).map { try $0.decode(0) }
        }
    }
}
