import BlockingIO
import Diagnostics
import Foundation
import Projections

/// Shows the progress of a replay on standard error: a bar on a terminal, otherwise one JSON line a
/// second.
final class ReplayProgress: Sendable {
    private struct State {
        var bar: ProgressBar
        var phase: String
        /// Where this run began. A resumed rebuild does not begin at 0.
        var start: (position: Int64, at: ContinuousClock.Instant)?
        /// When the last line was written.
        var written: ContinuousClock.Instant?
    }

    private struct Line: Encodable {
        var projection: String
        var phase: String
        var position: Int64?
        var goal: Int64?
        var rate: Double?
        var etaSeconds: Double?
    }

    private let projection: String
    private let isTerminal = StandardError.isTerminal
    private let state: Locked<State>

    init(_ projection: String, _ phase: String) {
        self.projection = projection
        state = Locked(State(bar: ProgressBar(phase, unit: "events"), phase: phase))
    }

    func update(_ done: Int64, of goal: Int64) {
        state.withLock { state in
            let now = ContinuousClock.now
            let start = state.start ?? (done, now)
            state.start = start
            if isTerminal { return state.bar.update(done, of: goal, since: start.position) }
            if let written = state.written, written.duration(to: now) < .seconds(1) { return }
            state.written = now
            let elapsed = start.at.duration(to: now) / .seconds(1)
            let rate = elapsed > 0 ? Double(done - start.position) / elapsed : 0
            write(
                Line(
                    projection: projection, phase: state.phase, position: done, goal: goal,
                    rate: rate > 0 ? rate.rounded() : nil,
                    etaSeconds: rate > 0 ? (Double(goal - done) / rate).rounded() : nil))
        }
    }

    func show(_ phase: Rebuild.Phase) {
        let text =
            switch phase {
            case .resuming(let position): position > 0 ? "resuming at \(position)" : "resuming"
            case .makingIndexes(let count): "making \(count) \(count == 1 ? "index" : "indexes")"
            case .comparing: "comparing digests"
            case .yielding(let lag): "waiting: live projections are \(lag) events behind"
            case .waitingForTables: "waiting for the tables: a query, a vacuum or a verification is using them"
            }
        state.withLock { state in
            if isTerminal { return state.bar.note(text) }
            if case .yielding = phase, let written = state.written, written.duration(to: .now) < .seconds(1) { return }
            state.written = .now
            write(Line(projection: projection, phase: text))
        }
    }

    func finish() { state.withLock { $0.bar.finish() } }

    private func write(_ line: Line) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        // Encoding cannot fail: the line holds only texts and finite numbers.
        if let bytes = try? encoder.encode(line) { Output.diagnostic(String(decoding: bytes, as: UTF8.self)) }
    }
}
