import EmbeddedServices
import Foundation
import Postgres

/// Appends to a ledger that demands quorum, on a server whose standby is some milliseconds away.
enum StandbyRows {
    static func groups(_ delay: Int) -> String {
        "append, 32 Swift callers, the ledger demands quorum, a standby \(delay) ms away"
    }
    static func events(_ delay: Int) -> String {
        "append_event in SQL, 8 connections: each commit waits for the standby while it has the log, \(delay) ms"
    }
    static func calls(_ delay: Int) -> String {
        "CALL append_and_confirm in SQL, 8 connections: the log is free while they wait, \(delay) ms"
    }

    static func measure(_ bench: Bench) async throws {
        for (delay, target) in [(0, 1.0), (1, 1.0), (5, 0.9)] {
            try await bench.part([groups(delay), events(delay), calls(delay)]) { bench in
                try await withStandby(bench, delay) { try await rows($0, delay, target) }
            }
        }
    }

    private static func rows(_ bench: Bench, _ delay: Int, _ target: Double) async throws -> [BenchRow] {
        try await bench.withLedger { ledger in
            try await ledger.admin.query("SELECT demand_durability('quorum')")
            let inserts = try await SingleRows.plainInserts(bench, ledger, connections: 32)
            let singly = try await SingleRows.sqlCallers(
                bench, ledger, connections: 8,
                "SELECT * FROM append_event($1, 'progress', $2::json, event_id => $3::uuid)")
            let confirmed = try await SingleRows.sqlCallers(
                bench, ledger, connections: 8,
                "CALL append_and_confirm($1, 'progress', $2::json, event_id => $3::uuid)")
            return try await SingleRows.withCallers(bench, ledger, 32) { grouped in
                try await Contest(
                    rounds: bench.options.rounds(7),
                    against: "32 libpq connections, one plain INSERT a transaction, the same standby",
                    baseline: inserts,
                    candidates: [
                        .init(work: groups(delay), target: .atLeast(target), run: grouped),
                        .init(work: events(delay), run: singly),
                        .init(work: calls(delay), run: confirmed),
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
