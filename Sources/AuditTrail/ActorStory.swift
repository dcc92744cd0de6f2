import EventStore
import LedgerCore
import Postgres

/// What one actor did, for one screen.
public struct ActorStory: Sendable {
    public struct Deeds: Sendable, Equatable {
        public var type: EventType
        public var count: Int64
    }

    public var actor: String
    /// Of each type, in order of the types.
    public var deeds: [Deeds]
    /// How many of the actor's events, the newest, were counted; there may be more.
    public var counted: Int64
    public var isCountedWhole: Bool
    public var first: TrailEntry
    /// The newest first.
    public var latest: [TrailEntry]
    /// The jobs of the events that were counted, the one with the newest event first, at most ``mostJobs``, with how many events each has.
    public var jobs: [(job: String, count: Int64)]

    /// The most events that are counted.
    static let mostCounted = 10_000
    static let mostJobs = 10
}

extension AuditTrail {
    /// - Parameter latest: how many of the newest events are told.
    /// - Returns: `nil` for who has done nothing.
    public func story(ofActor actor: String, latest: Int = 15) async throws -> ActorStory? {
        try await withTrail { connection, _ -> ActorStory? in
            var query = TrailQuery(limit: latest)
            query.actor = actor
            let newest = try await connection.query(query.statement).map { try TrailEntry($0) }
            guard !newest.isEmpty else { return nil }
            (query.order, query.limit) = (.oldest, 1)
            let first = try TrailEntry(try await connection.query(query.statement).only())
            let counted = """
                SELECT type, job, position FROM audit_log WHERE actor = $1 AND actor IS NOT NULL
                 ORDER BY position DESC LIMIT \(ActorStory.mostCounted + 1)
                """
            let deeds = try await connection.query(
                "SELECT type, count(*) FROM (\(counted)) AS counted GROUP BY type", actor
            ).map { row in
                ActorStory.Deeds(type: try EventType(try row.decode(0, as: String.self), at: 0), count: try row.decode(1))
            }
            let jobs = try await connection.query(
                """
                SELECT job, count(*) FROM (\(counted)) AS counted
                 GROUP BY job ORDER BY max(position) DESC LIMIT \(ActorStory.mostJobs)
                """, actor
            ).map { row in (job: try row.decode(0, as: String.self), count: try row.decode(1, as: Int64.self)) }
            let count = deeds.reduce(0) { $0 + $1.count }
            let order = EventType.allCases
            return ActorStory(
                actor: actor, deeds: deeds.sorted { (order.firstIndex(of: $0.type) ?? 0) < (order.firstIndex(of: $1.type) ?? 0) },
                counted: count, isCountedWhole: count <= ActorStory.mostCounted, first: first, latest: newest, jobs: jobs)
        }
    }
}
