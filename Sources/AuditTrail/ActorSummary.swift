import EventStore
package import LedgerCore
import Postgres

/// What one actor did, short enough for one screen.
package struct ActorSummary: Sendable {
    package struct TypeCount: Sendable, Equatable {
        package var category: Category
        package var type: EventType
        package var count: Int
    }

    package var actor: ExactText
    /// How many of the counted events have each type: first those of jobs, in the order of a job's
    /// life, then those of other categories, by name.
    package var counts: [TypeCount]
    /// The number of events that were counted: the newest ones of the actor.
    package var counted: Int
    /// Whether these are all events of the actor.
    package var isComplete: Bool
    /// The oldest event of all.
    package var first: TrailEntry
    /// The newest events, the newest first.
    package var latest: [TrailEntry]
    /// The streams of the counted events, each with its number of them: at most ``maxStreams``,
    /// beginning with that of the newest event.
    package var streams: [(stream: StreamKey, count: Int)]

    /// The most events that are counted.
    static let maxCounted = 1000
    static let maxStreams = 10

    fileprivate static let select = """
        SELECT category, stream_id, type, position FROM audit_log WHERE actor = $1 AND actor IS NOT NULL
         ORDER BY position DESC LIMIT \(maxCounted)
        """
}

extension AuditTrail {
    /// - Parameter latest: the number of events in ``ActorSummary/latest``, at most.
    /// - Returns: `nil` for an actor who has done nothing.
    /// - Throws: ``NotProjected``
    package func summary(ofActor actor: ExactText, latest: Int = 15) async throws -> ActorSummary? {
        try await withTrail { connection, _ -> ActorSummary? in
            var query = TrailQuery(limit: latest)
            query.actor = actor
            let newest = try await connection.query(query.statement).map { try TrailEntry($0) }
            guard !newest.isEmpty else { return nil }
            (query.order, query.limit) = (.oldest, 1)
            let first = try TrailEntry(try await connection.query(query.statement).only())
            let counted = try await connection.query(ActorSummary.select, actor.inTrail).map { row in
                let position: Position = try row.decode(3)
                let category = try Category(try row.decode(0, as: String.self), at: position)
                let type = try EventType(try row.decode(2, as: String.self), at: position)
                return (stream: StreamKey(category, try row.decode(1, as: JobID.self)), type: type)
            }
            return ActorSummary(
                actor: actor, counts: ActorSummary.counts(counted), counted: counted.count,
                isComplete: counted.count < ActorSummary.maxCounted,
                first: first,
                latest: newest, streams: ActorSummary.streams(counted.map(\.stream)))
        }
    }
}

extension ActorSummary {
    fileprivate static func counts(_ counted: [(stream: StreamKey, type: EventType)]) -> [TypeCount] {
        Dictionary(grouping: counted, by: \.stream.category).flatMap { category, events in
            Dictionary(grouping: events, by: \.type).map {
                TypeCount(category: category, type: $0.key, count: $0.value.count)
            }
        }
        .sorted { $0.order < $1.order }
    }

    /// - Parameter streams: of each event, the newest first.
    fileprivate static func streams(_ streams: [StreamKey]) -> [(stream: StreamKey, count: Int)] {
        var found: [(stream: StreamKey, count: Int)] = []
        let counts = Dictionary(grouping: streams) { $0 }.mapValues(\.count)
        for stream in streams where found.count < maxStreams && !found.contains(where: { $0.stream == stream }) {
            found.append((stream, counts[stream] ?? 0))
        }
        return found
    }
}

extension ActorSummary.TypeCount {
    fileprivate var order: (Int, String, Int, String) {
        let place = category == .job ? EventType.jobTypes.firstIndex(of: type) ?? 0 : 0
        return (category == .job ? 0 : 1, category.text, place, type.rawValue)
    }
}
