/// How fast a job makes progress, from what it was seen to have completed.
struct RateMeter: Sendable {
    private var samples: [(seconds: Double, completed: Int64)] = []

    /// How long a sample counts, and how far two are apart at least.
    private static let (longest, shortest) = (30.0, 1.0)

    mutating func add(_ completed: Int64, at seconds: Double) {
        // Another total, or another history after a restore: what was seen says nothing.
        if let last = samples.last, completed < last.completed || seconds < last.seconds { samples = [] }
        if let last = samples.last, samples.count > 1, seconds - samples[samples.count - 2].seconds < Self.shortest {
            samples[samples.count - 1] = (last.seconds, completed)
        } else {
            samples.append((seconds, completed))
        }
        while samples.count > 2, samples[1].seconds < seconds - Self.longest { samples.removeFirst() }
    }

    /// Completed a second; `nil` until it was watched for some seconds.
    func rate(at seconds: Double) -> Double? {
        guard let first = samples.first, let last = samples.last, seconds - first.seconds >= 3 else { return nil }
        return Double(last.completed - first.completed) / (seconds - first.seconds)
    }
}
