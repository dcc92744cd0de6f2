import BlockingIO
import Diagnostics
import Foundation
import Projections

/// How far a replay is, on standard error: a bar on a terminal, elsewhere a JSON line a second.
final class ReplayProgress: Sendable {
    private struct State {
        var bar: ProgressBar
        var phase: String
        /// Where this run began, which of a resumed rebuild is not the beginning.
        var start: (position: Int64, at: ContinuousClock.Instant)?
        var told: ContinuousClock.Instant?
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
            if let told = state.told, told.duration(to: now) < .seconds(1) { return }
            state.told = now
            let elapsed = start.at.duration(to: now) / .seconds(1)
            let rate = elapsed > 0 ? Double(done - start.position) / elapsed : 0
            write(
                Line(
                    projection: projection, phase: state.phase, position: done, goal: goal,
                    rate: rate > 0 ? rate.rounded() : nil,
                    etaSeconds: rate > 0 ? (Double(goal - done) / rate).rounded() : nil))
        }
    }

    func tell(_ phase: Rebuild.Phase) {
        let text =
            switch phase {
            case .resuming(let position): position > 0 ? "resuming at \(position)" : "resuming"
            case .makingIndexes(let count): "making \(count) \(count == 1 ? "index" : "indexes")"
            case .comparing: "comparing digests"
            case .yielding(let lag): "waiting: live projections are \(lag) events behind"
            case .waitingForTables: "waiting for the tables: a query, a vacuum or a verification has them"
            }
        state.withLock { state in
            if isTerminal { return state.bar.note(text) }
            if case .yielding = phase, let told = state.told, told.duration(to: .now) < .seconds(1) { return }
            state.told = .now
            write(Line(projection: projection, phase: text))
        }
    }

    func finish() { state.withLock { $0.bar.finish() } }

    private func write(_ line: Line) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        // Texts and numbers: there is nothing in it that could not be encoded.
        if let bytes = try? encoder.encode(line) { Output.diagnostic(String(decoding: bytes, as: UTF8.self)) }
    }
}
