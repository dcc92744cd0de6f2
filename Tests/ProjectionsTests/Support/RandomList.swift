import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Projections

/// A random history of jobs, and what a list of them must be at any position: a second
/// implementation of `job_list` and its queries, in Swift, that looks at every event each time.
struct RandomList {
    struct Event {
        let type: String
        let position: Position
        let second: Int
        let completed: Int?
        let total: Int?
        let error: String?
    }

    /// A job at a moment.
    struct Row {
        let id: JobID
        let job: Job
        var status = JobListQuery.Status.queued
        var rawTotal = 0
        var completed = 0
        var updated = 0
        var started: (position: Position, second: Int)?
        var truncated: Position?
        var ended: (position: Position, second: Int)?
        var error: String?
        var last: (position: Position, version: Int32) = (0, 0)

        var total: Int { rawTotal > 0 ? max(rawTotal, completed) : 0 }
        var took: Int? { ended.map { $0.second - (started?.second ?? job.events[0].second) } }
    }

    struct Job {
        let name: String
        let kind: String
        let actor: ExactText?
        let ticker: Int
        let team: String
        var events: [Event] = []
    }

    let jobs: [JobID: Job]
    let head: Position

    static func append(_ count: Int, mostEvents: Int, to ledger: TestLedger, seed: UInt64) async throws -> RandomList {
        var history = History(random: SeededGenerator(seed: seed))
        var open = (0..<count).map { (id: JobID("job \($0)"), left: history.below(mostEvents + 1)) }
        while !open.isEmpty {
            let index = history.below(min(open.count, 12))
            let isOver = history.goOn(open[index].id, isLast: open[index].left == 0)
            open[index].left -= 1
            if isOver || open[index].left < 0 { open.remove(at: index) }
        }
        let requests = history.events.map { AppendRequest(job: $0.job, events: [$0.new]) }
        for answer in try await ledger.store.append(requests, timeout: .seconds(120)) { _ = try answer.get() }
        return RandomList(jobs: history.jobs, head: Position(requests.count))
    }

    /// A history in the making.
    private struct History {
        var random: SeededGenerator
        var jobs: [JobID: Job] = [:]
        var events: [(job: JobID, new: NewEvent)] = []
        /// The total of each job after its last event.
        private var totals: [JobID: Int] = [:]

        init(random: SeededGenerator) { self.random = random }

        mutating func below(_ limit: Int) -> Int { Int(random.below(UInt64(limit))) }

        /// Adds an event of a job, at a time before or after those of its others.
        private mutating func add(
            _ id: JobID, _ type: String, _ data: String, metadata: String = "{}", completed: Int? = nil,
            total: Int? = nil, error: String? = nil
        ) {
            let second = 1_700_000_000 + below(5000)
            let moment = Timestamp(microseconds: Int64(second) * 1_000_000)
            events.append((id, NewEvent(type: type, data: data, metadata: metadata, occurredAt: moment)))
            totals[id] = total ?? totals[id]
            jobs[id]?.events.append(
                Event(
                    type: type, position: Position(events.count), second: second, completed: completed, total: total,
                    error: error))
        }

        private mutating func queue(_ id: JobID) {
            let job = Job(
                name: ["Alpha", "beta", "Gamma ÄÖ", "100%_x"][below(4)] + " \(below(9))",
                kind: below(4) == 0 ? "local" : "server",
                actor: below(4) == 0 ? nil : ExactText("actor \(below(3))"), ticker: below(5), team: "t\(below(3))")
            jobs[id] = job
            let total = below(3) == 0 ? 0 : 5 + below(50)
            let variables = #"[{"name":"ticker","values":["T\#(job.ticker)",\#(job.ticker)],"count":2}]"#
            let by = job.actor.map { #""actor":"\#($0)","# } ?? ""
            add(
                id, "queued",
                #"{"name":"\#(job.name)","kind":"\#(job.kind)","total":\#(total),"variables":\#(variables)}"#,
                metadata: #"{\#(by)"team":"\#(job.team)","size":\#(job.ticker)}"#, total: total)
        }

        /// Adds the next event of a job.
        /// - Returns: whether it ends the job.
        mutating func goOn(_ id: JobID, isLast: Bool) -> Bool {
            guard jobs[id] != nil else {
                queue(id)
                return false
            }
            switch below(isLast ? 8 : 40) {
            case 0: add(id, "truncated", #"{"reason":"r"}"#)
            case 1:
                let error = "Broken \(below(3))"
                add(id, "failed", #"{"error":"\#(error)"}"#, error: error)
                return true
            case 2:
                add(id, "finished", #"{"view_url":"v"}"#)
                return true
            case 3:
                // Known or not, and also below what was completed.
                let total = below(60)
                let completed = below((total > 0 ? total : 90) + 1)
                add(
                    id, "progress", #"{"completed":\#(completed),"total":\#(total)}"#, completed: completed,
                    total: total)
            default:
                let total = totals[id] ?? 0
                let completed = below((total > 0 ? total : 90) + 1)
                add(id, "progress", #"{"completed":\#(completed)}"#, completed: completed)
            }
            return false
        }
    }

    // MARK: What must be

    /// The job at a position; `nil` if it was not there.
    func row(_ id: JobID, at position: Position) -> Row? {
        guard let job = jobs[id], job.events[0].position <= position else { return nil }
        var row = Row(id: id, job: job)
        for (index, event) in job.events.enumerated() where event.position <= position {
            row.last = (event.position, Int32(index + 1))
            row.updated = max(row.updated, event.second)
            row.rawTotal = event.total ?? row.rawTotal
            row.completed = max(row.completed, event.completed ?? 0)
            switch event.type {
            case "progress":
                row.status = .running
                if row.started == nil { row.started = (event.position, event.second) }
            case "truncated": row.truncated = row.truncated ?? event.position
            case "finished":
                (row.status, row.ended) = (.finished, (event.position, event.second))
                if row.truncated == nil, row.rawTotal > 0 { row.completed = max(row.completed, row.rawTotal) }
            case "failed":
                (row.status, row.ended, row.error) = (.failed, (event.position, event.second), event.error)
            default: break
            }
        }
        return row
    }

    /// All jobs of a list, in its order.
    func rows(_ query: JobListQuery, at position: Position) -> [Row] {
        let found = jobs.keys.compactMap { row($0, at: position) }.filter { Self.fits($0, query) }
        let keyed = found.map { (row: $0, key: Self.key($0, query.sort)) }
        func comesFirst(_ one: (row: Row, key: [ExactText]?), _ other: (row: Row, key: [ExactText]?)) -> Bool {
            // Jobs without the key come last, by when they were queued.
            guard (one.key == nil) == (other.key == nil) else { return one.key != nil }
            let queued = [
                [Self.text(one.row.job.events[0].position)], [Self.text(other.row.job.events[0].position)],
            ]
            let (a, b) = ((one.key ?? []) + queued[0], (other.key ?? []) + queued[1])
            return query.order == .ascending ? a.lexicographicallyPrecedes(b) : b.lexicographicallyPrecedes(a)
        }
        return keyed.sorted(by: comesFirst).map(\.row)
    }

    /// A number as a text that sorts as it does.
    private static func text(_ number: Int64) -> ExactText {
        let digits = "\(number + 1_000_000_000_000)"
        return ExactText(String(repeating: "0", count: 20 - digits.count) + digits)
    }

    private static func key(_ row: Row, _ sort: JobListQuery.Sort) -> [ExactText]? {
        switch sort {
        case .queued: []
        case .started: row.started.map { [text($0.position)] }
        case .ended: row.ended.map { [text($0.position)] }
        case .name: [ExactText(row.job.name)]
        case .took: row.took.map { [text(Int64($0))] }
        case .updated: [text(row.last.position)]
        }
    }

    /// The letters of ASCII in lower case.
    private static func lowered(_ text: String) -> String {
        String(text.map { $0.isASCII ? Character($0.lowercased()) : $0 })
    }

    private static func fits(_ row: Row, _ query: JobListQuery) -> Bool {
        let created = Timestamp(microseconds: Int64(row.job.events[0].second) * 1_000_000)
        let texts = [row.id.text, row.job.name, row.error ?? ""].map(lowered)
        return (query.statuses.isEmpty || query.statuses.contains(row.status))
            && query.kind.map { $0 == row.job.kind } ?? true
            && query.actor.map { $0 == row.job.actor } ?? true
            && query.text.map { text in texts.contains { $0.contains(lowered(text)) } } ?? true
            && query.since.map { created >= $0 } ?? true && query.until.map { created <= $0 } ?? true
            && query.isTruncated.map { $0 == (row.truncated != nil) } ?? true
            && query.variables.allSatisfy {
                $0.name == "ticker"
                    && ($0.value.map { $0 == "T\(row.job.ticker)" || $0 == "\(row.job.ticker)" } ?? true)
            }
            && query.metadata.allSatisfy {
                $0.key == "team" && $0.value == row.job.team || $0.key == "size" && $0.value == "\(row.job.ticker)"
            }
    }
}
