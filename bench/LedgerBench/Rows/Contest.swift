/// An amount of work and the time that it took.
struct Rate: Sendable {
    var events: Int
    var elapsed: Duration
    var perSecond: Double { Double(events) / (elapsed / .seconds(1)) }

    /// The rate of `body`, which processes `events` events.
    static func of(_ events: Int, _ body: () async throws -> Void) async rethrows -> Rate {
        let start = ContinuousClock.now
        try await body()
        return Rate(events: events, elapsed: start.duration(to: .now))
    }
}

/// Several ways to do the same work, measured against one of them in alternating rounds. Absolute
/// figures of a shared machine mean nothing; figures that were measured side by side do.
///
/// A round measures the baseline, each candidate, and the baseline again; the next round goes in
/// reverse order. A candidate's ratio is to the mean of the two baselines around it, so that a
/// machine that becomes slower or faster favours no candidate. The two baselines also give the
/// noise.
struct Contest: Sendable {
    /// Prepares one round's work, does it, and times only the work.
    typealias Work = @Sendable () async throws -> Rate

    struct Candidate: Sendable {
        var work: String
        var target: BenchRow.Target?
        var note = ""
        var run: Work
    }

    var rounds: Int
    var against: String
    var unit = "events/s"
    var baseline: Work
    var candidates: [Candidate]
    /// Whether the candidates also have a warm-up run. Long ones need none.
    var warmsCandidates = true

    func run() async throws -> [BenchRow] {
        // The warm-up run opens connections and loads catalogues, code and files.
        for work in [baseline] + (warmsCandidates ? candidates.map(\.run) : []) { _ = try await work() }

        var baselines: [Double] = []
        var noise: [Double] = []
        var rates = candidates.map { _ in [Double]() }
        var ratios = rates
        for round in 0..<rounds {
            try Task.checkCancellation()
            let before = try await baseline().perSecond
            var measured = [Double](repeating: 0, count: candidates.count)
            for index in round.isMultiple(of: 2) ? Array(candidates.indices) : candidates.indices.reversed() {
                measured[index] = try await candidates[index].run().perSecond
            }
            let after = try await baseline().perSecond
            noise.append(after / before)
            baselines.append((before + after) / 2)
            for index in candidates.indices {
                rates[index].append(measured[index])
                ratios[index].append(measured[index] / ((before + after) / 2))
            }
        }
        return candidates.indices.map { index in
            BenchRow(
                candidates[index].work, ours: rates[index].median, baseline: baselines.median,
                ratio: ratios[index].median,
                target: candidates[index].target, unit: unit, against: against, spread: ratios[index].range,
                noise: noise.range,
                rounds: rounds, note: candidates[index].note)
        }
    }
}
