import EventStore
package import LedgerCore
import Postgres

/// A job from its first event to its last, for one screen: progress that one actor reports in a row
/// is one line.
package struct JobTimeline: Sendable {
    package struct Line: Sendable {
        /// The first event, and the last where there are several.
        package var first: TrailEntry
        package var last: TrailEntry
        package var count: Int
    }

    package var job: JobID
    package var lines: [Line]
    /// How many events were left out between the first and the last ones; none of them is told.
    package var omitted: Int
    /// Everybody who had a part in it, in the order of appearance.
    package var actors: [ExactText]
    package var events: Int

    /// How many events at the beginning and at the end are told at most.
    static let maxAtEachEnd = 5000

    /// How it ended; `nil` while it has not.
    package var end: TrailEntry? { lines.last.flatMap { $0.last.type.isEnd ? $0.last : nil } }
}

extension AuditTrail {
    /// - Returns: `nil` where there is no such job.
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
