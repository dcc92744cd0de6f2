import EventStore
package import LedgerCore
import Postgres

/// What one actor did, for one screen.
package struct ActorStory: Sendable {
    package struct Deeds: Sendable, Equatable {
        package var type: EventType
        package var count: Int
    }

    package var actor: ExactText
    /// Of each type, in order of the types.
    package var deeds: [Deeds]
    /// How many of the actor's events, the newest, were counted; there may be more.
    package var counted: Int
    package var isCountedWhole: Bool
    package var first: TrailEntry
    /// The newest first.
    package var latest: [TrailEntry]
    /// The jobs of the events that were counted, the one with the newest event first, at most
    /// ``mostJobs``, with how many events each has.
    package var jobs: [(job: JobID, count: Int)]

    /// The most events that are counted.
    static let mostCounted = 1000
    static let mostJobs = 10
}

extension AuditTrail {
    /// - Parameter latest: how many of the newest events are told.
    /// - Returns: `nil` for who has done nothing.
    package func story(ofActor actor: ExactText, latest: Int = 15) async throws -> ActorStory? {
        try await withTrail { connection, _ -> ActorStory? in
            var query = TrailQuery(limit: latest)
            query.actor = actor
            let newest = try await connection.query(query.statement).map { try TrailEntry($0) }
            guard !newest.isEmpty else { return nil }
            (query.order, query.limit) = (.oldest, 1)
            let first = try TrailEntry(try await connection.query(query.statement).only())
            let counted = try await connection.query(
                """
                SELECT type, job FROM audit_log WHERE actor = $1 AND actor IS NOT NULL
                 ORDER BY position DESC LIMIT \(ActorStory.mostCounted)
                """, actor.inTrail
            ).map { row in
                (type: try EventType(try row.decode(0, as: String.self), at: 0), job: try row.decode(1, as: JobID.self))
            }
            let byType = Dictionary(grouping: counted, by: \.type).mapValues(\.count)
            let deeds = EventType.allCases.compactMap { type in
                byType[type].map { ActorStory.Deeds(type: type, count: $0) }
            }
            var jobs: [(job: JobID, count: Int)] = []
            let byJob = Dictionary(grouping: counted, by: \.job).mapValues(\.count)
            for (_, job) in counted where jobs.count < ActorStory.mostJobs && !jobs.contains(where: { $0.job == job }) {
                jobs.append((job, byJob[job] ?? 0))
            }
            return ActorStory(
                actor: actor, deeds: deeds, counted: counted.count,
                isCountedWhole: counted.count < ActorStory.mostCounted,
                first: first,
                latest: newest, jobs: jobs)
        }
    }
}
