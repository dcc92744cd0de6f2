import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import Postgres

/// Appends to a server that waits for a standby, which is some milliseconds away.
enum StandbyRows {
    static func confirmed(_ delay: Int) -> String {
        "append, 32 Swift callers, the ledger demands quorum, a standby \(delay) ms away"
    }
    static func waiting(_ delay: Int) -> String {
        "… the ledger demands nothing: each commit waits for the standby while it has the log, \(delay) ms"
    }
    static func confirmedSQL(_ delay: Int) -> String {
        "append_event in SQL, 8 connections, each commit waits for the standby, \(delay) ms"
    }

    static func called(_ delay: Int) -> String {
        "… by a procedure that commits at local, and then waits: the log is free meanwhile, \(delay) ms"
    }

    /// What `append_event` would be as a procedure. It could not be part of the caller's own
    /// transaction.
    private static let procedure = """
        CREATE PROCEDURE append_by_call(job text, data json, id uuid) LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM confirm_afterwards();
          PERFORM append_event(job, 'progress', data, event_id => id);
          COMMIT;
          PERFORM durable_position('quorum');
        END $$
        """

    static func measure(_ bench: Bench) async throws {
        for delay in [0, 1, 5] {
            try await bench.part([confirmed(delay), waiting(delay), confirmedSQL(delay), called(delay)]) { bench in
                try await withStandby(bench, delay) { try await rows($0, delay) }
            }
        }
    }

    private static func rows(_ bench: Bench, _ delay: Int) async throws -> [BenchRow] {
        try await bench.withLedger { ledger in
            let inserts = try await SingleRows.plainInserts(bench, ledger, connections: 32)
            try await ledger.admin.execute(script: procedure)
            let sql = try await SingleRows.sqlCallers(
                bench, ledger, connections: 8,
                "SELECT * FROM append_event($1, 'progress', $2::json, event_id => $3::uuid)")
            let calls = try await SingleRows.sqlCallers(
                bench, ledger, connections: 8, "CALL append_by_call($1, $2::json, $3::uuid)")
            @Sendable func demandingNothing(_ work: @escaping Contest.Work) -> Contest.Work {
                {
                    try await ledger.admin.query("SELECT demand_durability('local')")
                    return try await work()
                }
            }
            return try await SingleRows.withCallers(bench, ledger, 32) { append in
                @Sendable func demanding(_ level: Durability) -> Contest.Work {
                    {
                        try await ledger.admin.query("SELECT demand_durability($1)", level.rawValue)
                        // Callers learn of it within two seconds.
                        try await Task.sleep(for: .seconds(2.5))
                        return try await append()
                    }
                }
                return try await Contest(
                    rounds: bench.options.rounds(7),
                    against: "32 libpq connections, one plain INSERT a transaction, the same standby",
                    baseline: demandingNothing(inserts),
                    candidates: [
                        .init(work: confirmed(delay), target: .atLeast(1), run: demanding(.quorum)),
                        .init(work: waiting(delay), run: demanding(.local)),
                        .init(work: confirmedSQL(delay), run: demandingNothing(sql)),
                        .init(work: called(delay), run: demandingNothing(calls)),
                    ]
                ).run()
            }
        }
    }

    /// Runs `body` with a bench whose Postgres is a primary of its own, with a standby behind a
    /// cable of a length.
    private static func withStandby(
        _ bench: Bench, _ delay: Int, _ body: (Bench) async throws -> [BenchRow]
    ) async throws -> [BenchRow] {
        let place = bench.directory.appending(path: "replicated-\(delay)")
        let primary = try await PrivatePostgres.start(
            directory: place.appending(path: "primary"), settings: Bench.settings, listening: .loopback)
        do {
            guard let port = URLComponents(string: primary.url)?.port.flatMap({ UInt16(exactly: $0) }) else {
                throw BenchFailure("the primary has no port")
            }
            let proxy = try DelayingProxy(target: port, delay: .milliseconds(delay) / 2)
            let standby = try await PrivateStandby.start(
                of: primary, in: place.appending(path: "standby"), throughPort: proxy.port)
            let admin = try await PostgresConnection.connect(PostgresConfiguration(url: primary.url))
            try await admin.execute(script: "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            try await admin.query("SELECT pg_reload_conf()")
            try await until("the standby follows", within: .seconds(60)) {
                try await !admin.query("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'").isEmpty
            }
            let result = try await body(
                Bench(
                    options: bench.options, postgres: primary, redis: bench.redis, directory: bench.directory,
                    report: bench.report))
            await admin.close()
            await standby.stop()
            proxy.stop()
            try await primary.stop()
            return result
        } catch {
            try await primary.stop()
            throw error
        }
    }
}
