/// All rows except those that need a long log: see ``Growth`` and ``Memory``.
package enum Suite {
    package static func run(_ options: BenchOptions, _ report: Report) async throws {
        try await Bench.run(options, report) { bench in
            try await BatchRows.measure(bench)
            try await SingleRows.measure(bench)
            try await CategoryRows.measure(bench)
            try await StandbyRows.measure(bench)
            try await LatencyRows.measure(bench)
            try await HTTPRows.measure(bench)
            try await DiskRow.measure(bench)
            try await BacklogRows.measure(bench)
            try await RebuildUnderLoadRow.measure(bench)
            try await TransferRows.measure(bench)
            try await SealRows.measure(bench)
            try await AuditRows.measure(bench)
        }
    }
}
