extension GrowthFigures {
    /// - Parameter first: the figures at the smallest size, to compare with; `nil` for the smallest
    ///   size itself.
    func rows(at size: String, since first: GrowthFigures?, of least: String) -> [BenchRow] {
        var copy = appending
        copy.work = "append, 1,000-event batches, at \(size) events"
        copy.note = "raw COPY into a small table at that time: \(Int(control))/s"
        var (random, last) = (randomRead, lastRead)
        random.work = "read, windows of 10,000 from random places, at \(size) events"
        last.work = "read, windows of 10,000 from the end, at \(size) events"
        var rows = [copy, random, last]
        if let first {
            rows += [
                compared(
                    "append at \(size) events", appending.ours, first.appending.ours, least,
                    machine: control / first.control,
                    target: .atLeast(0.9)),
                compared(
                    "read at \(size) events, the end", lastRead.ours, first.lastRead.ours, least,
                    machine: (lastRead.baseline ?? 1) / (first.lastRead.baseline ?? 1), target: .atLeast(0.9)),
                // Random places of a log that does not fit in memory are read from disk. That also
                // holds for libpq alone, which is the control.
                compared(
                    "read at \(size) events, random places", randomRead.ours, first.randomRead.ours, least,
                    machine: (randomRead.baseline ?? 1) / (first.randomRead.baseline ?? 1), target: .atLeast(0.9)),
            ]
        }
        rows += [
            BenchRow("append, one event a call, 1 caller, at \(size) events", ours: oneCaller),
            BenchRow("append, one event a call, 32 callers, at \(size) events", ours: callers),
            BenchRow(
                "live projection of the last 100,000 events, at \(size) events", ours: projecting,
                note: "one run, from its start"
            ),
            timing("history of a random job, at \(size) events", history),
            timing("show of a random job, at \(size) events", show),
            timing("show --at of a random job, at \(size) events", showAt),
            BenchRow("disk an event, indexes included, at \(size) events", ours: bytes, unit: "bytes"),
        ]
        return rows
    }

    /// The figure compared with the one at the smallest size. Hours lie between them, so each is
    /// divided by the speed of the machine at that time.
    private func compared(
        _ work: String, _ now: Double?, _ then: Double?, _ least: String, machine: Double, target: BenchRow.Target
    ) -> BenchRow {
        let (now, then) = (now ?? 0, then ?? 0)
        return BenchRow(
            work, ours: now, baseline: then * machine, ratio: now / (then * machine), target: target,
            against: "the same at \(least)",
            note: "by the control, the machine was \(machine.rounded(digits: 3)) times as fast as then")
    }

    private func timing(_ work: String, _ milliseconds: [Double]) -> BenchRow {
        BenchRow(
            work, ours: milliseconds.median, unit: "ms", rounds: milliseconds.count,
            note: "median; p99 \(milliseconds.percentile(0.99).rounded(digits: 3)) ms")
    }
}
