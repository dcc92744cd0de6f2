import EventStore
package import LedgerCore
import Postgres

/// A stream from its first event to its last, short enough for one screen: consecutive progress of
/// a job by one actor is one line.
package struct StreamTimeline: Sendable {
    package struct Line: Sendable {
        /// The first event of the line.
        package var first: TrailEntry
        /// The last event of the line, which may be the first.
        package var last: TrailEntry
        package var count: Int
    }

    package var stream: StreamKey
    package var lines: [Line]
    /// The number of events in the middle that were left out.
    package var omitted: Int
    /// All actors, in the order of their first event.
    package var actors: [ExactText]
    /// The number of events, with those that were left out.
    package var events: Int
    /// The event that ended the stream; `nil` while it is open.
    package var end: TrailEntry?

    /// The most events at the beginning, and at the end, that the timeline has.
    static let maxAtEachEnd = 5000
}

extension AuditTrail {
    /// - Returns: `nil` where there is no such stream.
    /// - Throws: ``NotProjected``, or `UnknownKind` for a category that the ledger does not have.
    package func timeline(of stream: StreamKey) async throws -> StreamTimeline? {
        try await withTrail { connection, _ -> StreamTimeline? in
            try await connection.require(stream.category)
            var query = TrailQuery(order: .oldest, limit: StreamTimeline.maxAtEachEnd)
            (query.category, query.job) = (stream.category, stream.id)
            var entries = try await connection.query(query.statement).map { try TrailEntry($0) }
            guard var last = entries.last else { return nil }
            var omitted = 0
            if entries.count == StreamTimeline.maxAtEachEnd {
                query.order = .newest
                query.from = last.position + 1
                let newest = try await connection.query(query.statement).map { try TrailEntry($0) }.reversed()
                if let first = newest.first { omitted = Int(first.version) - Int(last.version) - 1 }
                entries += newest
                last = newest.last ?? last
            }
            var lines: [StreamTimeline.Line] = []
            for entry in entries {
                if let line = lines.last, entry.isProgress, line.last.isProgress,
                    line.last.actor == entry.actor,
                    Int(line.last.version) + 1 == Int(entry.version)
                {
                    lines[lines.count - 1].last = entry
                    lines[lines.count - 1].count += 1
                } else {
                    lines.append(StreamTimeline.Line(first: entry, last: entry, count: 1))
                }
            }
            var actors: [ExactText] = []
            for actor in entries.compactMap(\.actor) where !actors.contains(actor) { actors.append(actor) }
            let isEnded = try await connection.ends(last.type, of: stream.category)
            return StreamTimeline(
                stream: stream, lines: lines, omitted: omitted, actors: actors, events: entries.count + omitted,
                end: isEnded ? last : nil)
        }
    }
}

extension TrailEntry {
    /// Whether it is the progress of a job. In other categories the type may mean anything.
    fileprivate var isProgress: Bool { type == .progress && stream.category == .job }
}
