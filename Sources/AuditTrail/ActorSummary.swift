import EventStore
package import LedgerCore
import Postgres

/// What one actor did, short enough for one screen.
package struct ActorSummary: Sendable {
    package struct TypeCount: Sendable, Equatable {
        package var type: EventType
        package var count: Int
    }

    package var actor: ExactText
    /// How many of the counted events have each type, in the order of the types.
    package var counts: [TypeCount]
    /// The number of events that were counted: the newest ones of the actor.
    package var counted: Int
    /// Whether these are all events of the actor.
    package var isComplete: Bool
    /// The oldest event of all.
    package var first: TrailEntry
    /// The newest events, the newest first.
    package var latest: [TrailEntry]
    /// The jobs of the counted events, each with its number of them: at most ``maxJobs``, beginning
    /// with the job of the newest event.
    package var jobs: [(job: JobID, count: Int)]

    /// The most events that are counted.
    static let maxCounted = 1000
    static let maxJobs = 10

    fileprivate static let select = """
        SELECT type, job FROM audit_log WHERE actor = $1 AND actor IS NOT NULL
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
                (type: try EventType(try row.decode(0, as: String.self), at: 0), job: try row.decode(1, as: JobID.self))
            }
            let byType = Dictionary(grouping: counted, by: \.type).mapValues(\.count)
            let counts = EventType.jobTypes.compactMap { type in
                byType[type].map { ActorSummary.TypeCount(type: type, count: $0) }
            }
            var jobs: [(job: JobID, count: Int)] = []
            let byJob = Dictionary(grouping: counted, by: \.job).mapValues(\.count)
            for (_, job) in counted where jobs.count < ActorSummary.maxJobs && !jobs.contains(where: { $0.job == job })
            {
                jobs.append((job, byJob[job] ?? 0))
            }
            return ActorSummary(
                actor: actor, counts: counts, counted: counted.count,
                isComplete: counted.count < ActorSummary.maxCounted,
                first: first,
                latest: newest, jobs: jobs)
        }
    }
}
