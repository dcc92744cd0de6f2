import Foundation
import LedgerCore
import Postgres
import Projections

/// Measures the memory of the long-running processes when they are far behind.
package enum Memory {
    private static let timeout = Duration.seconds(3600)

    private static let isPublished = """
        SELECT coalesce((SELECT position FROM checkpoints WHERE reader = 'relay'), 0) >= head()
        """
    private static let isProjected = """
        SELECT coalesce(min(position) >= head() AND count(*) = $1, false) FROM projections
        """

    /// - Parameter events: how many events they are behind.
    package static func run(_ options: BenchOptions, _ report: Report, events: Int) async throws {
        try await Bench.run(options, report) { bench in
            let size = Growth.label(events)
            let (relay, project, append) = (work("relay", size), work("project", size), work("append --file -", size))
            try await bench.part([relay, project]) { bench in
                try await bench.withLedger { ledger in
                    try await FilledLog(jobsAtOnce: 1000, eventsPerJob: 100).fill(ledger, events: events) {
                        await report.progress("filling the log: \($0) of \(events) events")
                    }
                    var rows: [BenchRow] = []
                    if options.wants(relay) {
                        rows.append(
                            try await sample(bench, ledger, relay, ["relay"]) { _ in
                                try await ledger.admin.query(isPublished).only().decode(0)
                            })
                    }
                    if options.wants(project) {
                        rows.append(
                            try await sample(bench, ledger, project, ["project"]) { _ in
                                try await ledger.admin.query(isProjected, try ProjectionDefinition.all().count)
                                    .only().decode(0)
                            })
                    }
                    return rows
                }
            }
            try await bench.part([append]) { bench in
                try await bench.withLedger { ledger in
                    let log = try MixedLog(events: events, jobs: events / 100, in: bench.directory, isCopied: false)
                    let row = try await sample(
                        bench, ledger, append, ["append", "--file", "-", "--json"], input: log.lines
                    ) {
                        $0.hasExited
                    }
                    guard try await ledger.head() == events else { throw BenchFailure("not all events were appended") }
                    return [row]
                }
            }
        }
    }

    private static func work(_ process: String, _ size: String) -> String {
        "memory of \(process), behind by \(size) events"
    }

    /// Samples the process until `isDone`. Memory counts as flat if the second half of the time
    /// needs at most a quarter more than the first.
    private static func sample(
        _ bench: Bench, _ ledger: BenchLedger, _ work: String, _ arguments: [String], input: URL? = nil,
        until isDone: (Program) async throws -> Bool
    ) async throws -> BenchRow {
        let program = try await Program.start(arguments, on: ledger.name, of: bench, input: input)
        var (samples, peak): ([Double], Double) = ([], 0)
        do {
            try await LedgerBench.until("\(arguments[0]) is done", every: .milliseconds(200), within: timeout) {
                peak = max(peak, program.memory("VmHWM"))
                samples.append(program.memory("VmRSS"))
                await bench.report.progress("\(arguments[0]): \(Int(samples.last ?? 0)) MB")
                return try await isDone(program)
            }
        } catch {
            await program.stop()
            throw error
        }
        await program.stop()
        samples.removeAll { $0 == 0 }
        let half = samples.count / 2
        let (early, late) = (samples.prefix(half).max() ?? 0, samples.suffix(half).max() ?? 0)
        let isFlat = late <= early * 1.25
        var row = BenchRow(
            work, ours: peak, target: .atMost(64), unit: "MB", rounds: samples.count,
            note: """
                peak resident set; at most \(Int(early)) MB in the first half of the time, \
                \(Int(late)) MB in the second
                """
                    + (isFlat ? ": flat" : ": GROWING"))
        // If memory still grows, its peak is not known yet.
        row.hasFailed = !isFlat
        return row
    }
}
