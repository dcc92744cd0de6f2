import Foundation

/// One measured row: the ledger's work, compared with a baseline that does the same in the same
/// run.
package struct BenchRow: Encodable, Sendable {
    package enum Target: Sendable {
        case atLeast(Double)
        case atMost(Double)
    }

    package var work: String
    /// The median of the rounds, in `unit`.
    package var ours: Double?
    package var baseline: Double?
    /// The median of the rounds' ratios, ours to the baseline.
    package var ratio: Double?
    package var target: Target?
    package var unit: String
    /// What the baseline is; empty if there is none.
    package var against: String
    /// The smallest and the largest of the rounds' ratios.
    package var spread: ClosedRange<Double>?
    /// The same for the baseline against itself. A smaller difference is a tie.
    package var noise: ClosedRange<Double>?
    package var rounds: Int
    package var note: String
    /// The row could not be measured; `note` says why.
    package var hasFailed = false

    package init(
        _ work: String, ours: Double? = nil, baseline: Double? = nil, ratio: Double? = nil, target: Target? = nil,
        unit: String = "events/s", against: String = "", spread: ClosedRange<Double>? = nil,
        noise: ClosedRange<Double>? = nil,
        rounds: Int = 1, note: String = ""
    ) {
        self.work = work
        self.ours = ours
        self.baseline = baseline
        self.ratio = ratio
        self.target = target
        self.unit = unit
        self.against = against
        self.spread = spread
        self.noise = noise
        self.rounds = rounds
        self.note = note
    }

    /// Whether the target is met: by the ratio, or by our own figure if there is no baseline. `nil`
    /// without a target.
    package var met: Bool? {
        guard let target else { return nil }
        guard !hasFailed, let figure = ratio ?? ours else { return false }
        return switch target {
        case .atLeast(let least): figure >= least
        case .atMost(let most): figure <= most
        }
    }

    private enum Keys: String, CodingKey {
        case work, ours, baseline, ratio, target, met, unit, against, spread, noise, rounds, note
        case targetIs = "target_is"
        case failed
    }

    /// Every member is written, as null if it has no value.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Keys.self)
        try values.encode(work, forKey: .work)
        try values.encode(ours?.rounded(digits: 4), forKey: .ours)
        try values.encode(baseline?.rounded(digits: 4), forKey: .baseline)
        try values.encode(ratio?.rounded(digits: 3), forKey: .ratio)
        switch target {
        case .atLeast(let value):
            try values.encode(value, forKey: .target)
            try values.encode("at least", forKey: .targetIs)
        case .atMost(let value):
            try values.encode(value, forKey: .target)
            try values.encode("at most", forKey: .targetIs)
        case nil:
            try values.encodeNil(forKey: .target)
        }
        try values.encode(met, forKey: .met)
        try values.encode(unit, forKey: .unit)
        try values.encode(against, forKey: .against)
        try values.encode(
            spread.map { [$0.lowerBound.rounded(digits: 3), $0.upperBound.rounded(digits: 3)] }, forKey: .spread)
        try values.encode(
            noise.map { [$0.lowerBound.rounded(digits: 3), $0.upperBound.rounded(digits: 3)] }, forKey: .noise)
        try values.encode(rounds, forKey: .rounds)
        try values.encode(note, forKey: .note)
        if hasFailed { try values.encode(true, forKey: .failed) }
    }
}

extension Double {
    /// Rounds to this many significant digits; further digits are noise.
    func rounded(digits: Int) -> Double {
        guard self != 0, isFinite else { return 0 }
        let scale = pow(10, Double(digits) - 1 - log10(abs(self)).rounded(.down))
        return (self * scale).rounded() / scale
    }
}

extension Array where Element == Double {
    var median: Double { percentile(0.5) }

    /// The smallest value that this share of the values does not exceed; 0 if there are no values.
    func percentile(_ share: Double) -> Double {
        guard !isEmpty else { return 0 }
        let ordered = sorted()
        if share == 0.5, count.isMultiple(of: 2) { return (ordered[count / 2 - 1] + ordered[count / 2]) / 2 }
        return ordered[Swift.min(count - 1, Swift.max(0, Int((Double(count) * share).rounded(.up)) - 1))]
    }

    var range: ClosedRange<Double>? { self.min().flatMap { least in self.max().map { least...$0 } } }
}
