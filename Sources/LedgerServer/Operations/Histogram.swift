import BlockingIO

/// A histogram of durations.
struct Histogram: Sendable {
    private struct Counts: Sendable {
        var buckets: [UInt64]
        var count: UInt64 = 0
        var sum = 0.0
    }

    /// The upper bounds of the buckets, in seconds.
    let bounds: [Double]
    private let counts: Locked<Counts>

    init(bounds: [Double] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]) {
        self.bounds = bounds
        counts = Locked(Counts(buckets: bounds.map { _ in 0 }))
    }

    func record(_ duration: Duration) { record(seconds: duration / .seconds(1)) }

    func record(seconds: Double) {
        let bucket = bounds.firstIndex { seconds <= $0 }
        counts.withLock { counts in
            if let bucket { counts.buckets[bucket] += 1 }
            counts.count += 1
            counts.sum += seconds
        }
    }

    /// Writes it as Prometheus text: cumulative buckets, the sum and the count.
    func write(_ name: String, to text: inout PrometheusText) {
        let counts = counts.withLock { $0 }
        var below: UInt64 = 0
        for (bound, count) in zip(bounds, counts.buckets) {
            below += count
            text.sample("\(name)_bucket", [("le", "\(bound)")], "\(below)")
        }
        text.sample("\(name)_bucket", [("le", "+Inf")], "\(counts.count)")
        text.sample("\(name)_sum", [], "\(counts.sum)")
        text.sample("\(name)_count", [], "\(counts.count)")
    }
}
