import EventStore
package import LedgerCore
import Postgres

/// A job from its first event to its last, short enough for one screen: consecutive progress of one
/// actor is one line.
package struct JobTimeline: Sendable {
    package struct Line: Sendable {
        /// The first event of the line.
        package var first: TrailEntry
        /// The last event of the line, which may be the first.
        package var last: TrailEntry
        package var count: Int
    }

    package var job: JobID
    package var lines: [Line]
    /// The number of events in the middle that were left out.
    package var omitted: Int
    /// All actors, in the order of their first event.
    package var actors: [ExactText]
    /// The number of events, with those that were left out.
    package var events: Int

    /// The most events at the beginning, and at the end, that the timeline has.
    static let maxAtEachEnd = 5000

    /// The event that ended the job; `nil` while the job is open.
    package var end: TrailEntry? { lines.last.flatMap { $0.last.type.isEnd ? $0.last : nil } }
}

extension AuditTrail {
    /// - Returns: `nil` where there is no such job.
    /// - Throws: ``NotProjected``
    package func timeline(ofJob job: JobID) async throws -> JobTimeline? {
        try await withTrail { connection, _ -> JobTimeline? in
            var query = TrailQuery(order: .oldest, limit: JobTimeline.maxAtEachEnd)
            query.job = job
            var entries = try await connection.query(query.statement).map { try TrailEntry($0) }
            guard let last = entries.last else { return nil }
            var omitted = 0
            if entries.count == JobTimeline.maxAtEachEnd {
                query.order = .newest
                query.from = last.position + 1
                let newest = try await connection.query(query.statement).map { try TrailEntry($0) }.reversed()
                if let first = newest.first { omitted = Int(first.version) - Int(last.version) - 1 }
                entries += newest
            }
            var lines: [JobTimeline.Line] = []
            for entry in entries {
                if let line = lines.last, entry.type == .progress, line.last.type == .progress,
                    line.last.actor == entry.actor,
                    Int(line.last.version) + 1 == Int(entry.version)
                {
                    lines[lines.count - 1].last = entry
                    lines[lines.count - 1].count += 1
                } else {
                    lines.append(JobTimeline.Line(first: entry, last: entry, count: 1))
                }
            }
            var actors: [ExactText] = []
            for actor in entries.compactMap(\.actor) where !actors.contains(actor) { actors.append(actor) }
            return JobTimeline(
                job: job, lines: lines, omitted: omitted, actors: actors, events: entries.count + omitted)
        }
    }
}
