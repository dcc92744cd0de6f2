import Foundation
import LedgerCore

/// Draws the progress of a job from its events, as the live feed delivers them.
struct ProgressView {
    private var completed = 0
    /// The number of runs that the job will do: its total, or its limit; 0 until it is known.
    private var goal = 0
    private let isTerminal = isatty(STDOUT_FILENO) == 1
    private var lastTenth = 0
    private static let width = 40

    private struct ProgressData: Decodable { var completed: Int }
    private struct TruncatedData: Decodable {
        var reason: String
        var limit: Int?
        var dropped: Int?
    }

    mutating func show(_ event: FeedEvent) throws {
        let data = Data((event.data ?? "{}").utf8)
        switch event.type {
        case .queued:
            goal = Int(event.total)
            line("  queued    \(goal) runs")
        case .truncated:
            let truncated = try JSONDecoder().decode(TruncatedData.self, from: data)
            goal = truncated.limit ?? goal
            line("  truncated \(truncated.reason) \(goal): \(truncated.dropped ?? 0) runs will not be done")
        case .progress:
            completed = max(completed, try JSONDecoder().decode(ProgressData.self, from: data).completed)
            draw(completed, of: goal > 0 ? max(goal, completed) : 0)
        case .finished, .failed:
            if isTerminal { line("") }
            line("  \(event.type.rawValue)  after \(event.version) events")
        default: line("  \(event.type.rawValue)")
        }
    }

    private mutating func draw(_ done: Int, of total: Int) {
        // A limit may come after more runs than it allows are done.
        let fraction = total > 0 ? min(1, Double(done) / Double(total)) : 0
        let tenth = Int(fraction * 10)
        // In a log file, a line for each tenth is enough.
        guard isTerminal || tenth > lastTenth else { return }
        lastTenth = tenth
        let filled = Int(fraction * Double(Self.width))
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: Self.width - filled)
        let text = "  running   \(bar) \(Int(fraction * 100)) %  \(done)/\(total)"
        if isTerminal { write("\r\u{1B}[K\(text)") } else { line(text) }
    }

    private func line(_ text: String) { write(text.printable + "\n") }
}
