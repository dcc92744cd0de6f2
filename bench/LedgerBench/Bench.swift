import Diagnostics
import EmbeddedServices
import EventStore
import Foundation
import Postgres

/// One run of the benchmark: its servers, its options and its report.
package struct Bench: Sendable {
    let options: BenchOptions
    let postgres: PrivatePostgres
    let redis: PrivateRedis
    let directory: URL
    let report: Report

    var databaseURL: String { postgres.url }
    var redisURL: String { redis.url }

    /// Checkpoints are kept out of the rounds, because it is chance which round one falls into. All
    /// other settings are Postgres's defaults.
    static let settings = [
        "fsync": "on", "synchronous_commit": "on", "shared_buffers": "1GB", "max_wal_size": "8GB",
        "min_wal_size": "2GB",
        "checkpoint_timeout": "1h", "max_connections": "300",
    ]

    /// Starts servers in a temporary directory, runs `parts`, and always stops the servers and
    /// removes the directory. The servers listen on TCP, as those of most ledgers do.
    static func run(
        _ options: BenchOptions, _ report: Report, parts: @Sendable (Bench) async throws -> Void
    ) async throws {
        let base = options.dataDirectory ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        let directory = URL(filePath: base).appending(path: "jobledger-bench-\(UInt32.random(in: .min ... .max))")
        _ = try PrivateServers.directory(directory.path)
        defer { remove(directory) }
        let postgres = try await PrivatePostgres.start(
            directory: directory.appending(path: "postgres"), settings: settings, listening: .loopback)
        var outcome: Result<Void, any Error>
        do {
            let redis = try await PrivateRedis.start(
                directory: directory.appending(path: "redis"), listening: .loopback)
            do {
                let bench = Bench(
                    options: options, postgres: postgres, redis: redis, directory: directory, report: report)
                try await report.begins(try await Machine.look(bench))
                try await parts(bench)
                try await report.ends()
                outcome = .success(())
            } catch {
                outcome = .failure(error)
            }
            try await redis.stop()
        } catch {
            outcome = .failure(error)
        }
        try await postgres.stop()
        try outcome.get()
    }

    private static func remove(_ directory: URL) {
        do {
            try FileManager.default.removeItem(at: directory)
        } catch {
            StandardError.say("bench: cannot remove \(directory.path): \(error)")
        }
    }

    /// Measures some rows. If a row cannot be measured, it says why, and the others continue.
    func part(_ works: [String], _ body: (Bench) async throws -> [BenchRow]) async throws {
        let wanted = works.filter(options.wants)
        guard !wanted.isEmpty else { return }
        await report.measuring(wanted)
        do {
            for row in try await body(self) where options.wants(row.work) { try await report.add(row) }
        } catch {
            try Task.checkCancellation()
            for work in wanted {
                var row = BenchRow(work, note: "could not be measured: \(error)")
                row.hasFailed = true
                try await report.add(row)
            }
        }
    }

    /// Creates a ledger for one part, and drops it afterwards. Everything before it has been
    /// written to disk by then.
    func withLedger<T: Sendable>(_ name: String = "bench", _ body: (BenchLedger) async throws -> T) async throws -> T {
        let ledger = try await BenchLedger.make(name, bench: self)
        do {
            let result = try await body(ledger)
            try await ledger.drop()
            return result
        } catch {
            // An error of the clean-up is ignored, because the run's directory is removed anyway.
            // The first error is reported.
            try? await ledger.drop()
            throw error
        }
    }
}
