import EventStore
import Foundation
import LedgerCore
import Postgres
import Projections

/// Repeats the same work on a growing log: what is fast at the beginning must stay fast.
package enum Growth {
    private static let log = FilledLog(jobsAtOnce: 1000, eventsPerJob: 100)
    /// An upper estimate of the disk space of an event, with its indexes and Postgres's write-ahead
    /// log.
    private static let bytesAnEvent = 900
    private static let bytesBeside = 14 << 30

    /// - Parameter sizes: the sizes of the log, in millions of events.
    package static func run(_ options: BenchOptions, _ report: Report, sizes: [Double]) async throws {
        let sizes = sizes.sorted().map { Int(($0 * 1_000_000).rounded()) }
        try await Bench.run(options, report) { bench in
            try await bench.withLedger { ledger in
                var written: Int = 0
                var first: (size: Int, figures: GrowthFigures)?
                for size in sizes {
                    guard try fits(size - written, on: bench.directory) else {
                        try await report.add(failed(size, "skipped: the disk has no room for it"))
                        continue
                    }
                    do {
                        let filling = try await fill(ledger, from: written, to: size, report)
                        written = size
                        let figures = try await GrowthFigures.measure(bench, ledger, log, written: written)
                        try await report.add(filling)
                        for row in figures.rows(
                            at: label(size), since: first?.figures, of: first.map { label($0.size) } ?? "")
                        where options.wants(row.work) {
                            try await report.add(row)
                        }
                        if first == nil { first = (size, figures) }
                    } catch {
                        try Task.checkCancellation()
                        // The larger sizes continue from this one.
                        return try await report.add(failed(size, "could not be measured: \(error)"))
                    }
                }
            }
        }
    }

    /// The filling rate says little about the ledger, because it bypasses append. But whoever waits
    /// for it wants to know.
    private static func fill(_ ledger: BenchLedger, from written: Int, to size: Int, _ report: Report) async throws
        -> BenchRow
    {
        let rate = try await Rate.of(size - written) {
            try await log.fill(ledger, from: written, events: size) { count in
                await report.progress("filling the log: \(count) of \(size) events")
            }
        }
        return BenchRow("filling the log to \(label(size)) events, past append", ours: rate.perSecond)
    }

    static func label(_ events: Int) -> String {
        let millions = Double(events) / 1_000_000
        return millions == millions.rounded() ? "\(Int(millions)) million" : "\(millions) million"
    }

    private static func fits(_ more: Int, on directory: URL) throws -> Bool {
        let free = try FileManager.default.attributesOfFileSystem(forPath: directory.path)[.systemFreeSize] as? Int
        return more * bytesAnEvent + min(bytesBeside, more * 2000) < free ?? 0
    }

    private static func failed(_ size: Int, _ why: String) -> BenchRow {
        var row = BenchRow("at \(label(size)) events", note: why)
        row.hasFailed = true
        return row
    }
}
