import Diagnostics
import Foundation

/// A line on standard error that is redrawn in place: a bar, counts, the rate and the time left.
/// It writes nothing if standard error is not a terminal.
struct ProgressBar {
    private let label: String
    private let unit: String
    private let isShown = StandardError.isTerminal
    private let start = ContinuousClock.now
    private var drawn: ContinuousClock.Instant?
    private static let width = 30

    init(_ label: String, unit: String) {
        self.label = label
        self.unit = unit
    }

    /// Redraws the line, at most ten times a second, and always at the end.
    /// - Parameter first: how much was done when the bar was first shown. The rate counts from
    ///   there.
    mutating func update(_ done: Int64, of total: Int64, since first: Int64 = 0, note: String = "") {
        guard isShown else { return }
        let now = ContinuousClock.now
        if let drawn, done < total, drawn.duration(to: now) < .milliseconds(100) { return }
        drawn = now
        let fraction = total > 0 ? min(1, Double(done) / Double(total)) : 0
        let filled = Int(fraction * Double(Self.width))
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: Self.width - filled)
        let elapsed = start.duration(to: now) / .seconds(1)
        // Work that takes almost no time would have a rate too large for an integer.
        let rate = elapsed > 0 ? min(Double(done - first) / elapsed, 1e12) : 0
        var text = "\(label) \(bar) \(Int(fraction * 100)) %  \(done)/\(total) \(unit)"
        if rate >= 1 { text += "  \(Int(rate))/s" }
        if rate > 0, done < total { text += "  \(Self.clock(Double(total - done) / rate)) left" }
        if !note.isEmpty { text += "  \(note)" }
        StandardError.redraw(text)
    }

    /// Shows a text on the line in place of the bar, until the next update.
    mutating func note(_ text: String) {
        guard isShown else { return }
        drawn = .now
        StandardError.redraw("\(label): \(text)")
    }

    /// Keeps the line and ends it, so that the next output stands below it.
    func finish() {
        if isShown, drawn != nil { StandardError.endLine() }
    }

    private static func clock(_ seconds: Double) -> String {
        let seconds = Int(min(seconds, 359_999).rounded(.up))
        return seconds < 60
            ? "\(seconds) s" : seconds < 3600 ? "\(seconds / 60) min" : "\(seconds / 3600) h \(seconds % 3600 / 60) min"
    }
}
