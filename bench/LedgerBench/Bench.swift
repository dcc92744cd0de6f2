import Diagnostics
import EmbeddedServices
import EventStore
import Foundation
import Postgres

/// A run: its servers, its options, and where its rows go.
package struct Bench: Sendable {
    let options: BenchOptions
    let postgres: PrivatePostgres
    let redis: PrivateRedis
    let directory: URL
    let report: Report

    var databaseURL: String { postgres.url }
    var redisURL: String { redis.url }

    /// Checkpoints are kept out of the rounds, since which of them one falls into is chance; the
    /// rest is as shipped.
    static let settings = [
        "fsync": "on", "synchronous_commit": "on", "shared_buffers": "1GB", "max_wal_size": "8GB",
        "min_wal_size": "2GB",
        "checkpoint_timeout": "1h", "max_connections": "300",
    ]

    /// Starts servers in a directory of their own, over TCP as most ledgers have theirs, runs
    /// `parts`, stops them and removes the directory, whatever happens.
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

    /// Measures some rows. One that cannot be measured is a row that says why, and the others go
    /// on.
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

    /// A fresh ledger for one part, gone afterwards; everything before it is on the disk by then.
    func withLedger<T: Sendable>(_ name: String = "bench", _ body: (BenchLedger) async throws -> T) async throws -> T {
        let ledger = try await BenchLedger.make(name, bench: self)
        do {
            let result = try await body(ledger)
            try await ledger.drop()
            return result
        } catch {
            // The directory goes with the run; what matters is the first error.
            try? await ledger.drop()
            throw error
        }
    }
}
