import EventStore
import Foundation
import LedgerCore
import Postgres

/// Exports the log to a file, and imports it into another ledger.
enum TransferRows {
    static let export = "export, 1,000,000 mixed events, as a process, to a file"
    static let `import` = "import, 1,000,000 mixed events, as a process, checked before and compared after"
    private static let reading =
        "reading the same events: libpq, binary, all columns, windows of 10,000, nothing decoded"
    /// Work on a million events takes longer only if something is broken.
    private static let timeout = Duration.seconds(900)

    static func measure(_ bench: Bench) async throws {
        let events = bench.options.size(1_000_000, quick: 20_000)
        try await bench.part([export, `import`]) { bench in
            let log = try MixedLog(events: events, jobs: events / 10, in: bench.directory)
            let file = bench.directory.appending(path: "exported.ndjson")
            let rows = try await bench.withLedger { ledger in
                try await ledger.fill(copying: log)
                return try await exported(bench, ledger, file)
            }
            let more = bench.options.wants(`import`) ? try await imported(bench, log, file) : []
            try log.remove()
            try FileManager.default.removeItem(at: file)
            return rows + more
        }
    }

    private static func exported(_ bench: Bench, _ ledger: BenchLedger, _ file: URL) async throws -> [BenchRow] {
        let head = try await ledger.head()
        return try await Contest(
            rounds: bench.options.rounds(3), against: reading,
            baseline: try await ledger.readingTheLog(),
            candidates: [
                .init(work: export) {
                    try await Rate.of(Int(head)) {
                        try await bench.withProgram(["export", "--out", file.path], on: ledger.name) {
                            try await $0.finish(within: timeout)
                        }
                    }
                }
            ], warmsCandidates: false
        ).run()
    }

    private static func imported(_ bench: Bench, _ log: MixedLog, _ file: URL) async throws -> [BenchRow] {
        try await bench.withLedger("bench_copied") { copied in
            try await Contest(
                rounds: bench.options.rounds(3), against: BatchRows.against,
                baseline: copied.copying(log),
                candidates: [
                    .init(work: `import`, note: "includes starting the process and reading the file three times") {
                        try await bench.withLedger { ledger in
                            let rate = try await Rate.of(log.events) {
                                try await bench.withProgram(["import", file.path], on: ledger.name) {
                                    try await $0.finish(within: timeout)
                                }
                            }
                            let head = try await ledger.head()
                            guard head == log.events else {
                                throw BenchFailure("\(head) of \(log.events) events were imported")
                            }
                            return rate
                        }
                    }
                ], warmsCandidates: false
            ).run()
        }
    }
}
