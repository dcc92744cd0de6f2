package import EventStore
package import LedgerCore
import Postgres

/// Why an event came to be, and what came of it.
package struct Why: Sendable {
    package var event: TrailEntry
    /// What it follows from: its cause first, then the cause of that.
    package var causes: [TrailEntry]
    /// The id that the last of the causes, or the event itself, names as its cause and that is of
    /// no event here; something outside.
    package var outsideCause: ExactText?
    /// Whether the causes lead back to one that was told already.
    package var isCircular: Bool
    /// What follows from it, each behind what it follows from, with how many steps lie in between.
    package var consequences: [(depth: Int, entry: TrailEntry)]
    /// Whether there are more consequences, or causes, than are told.
    package var hasMore: Bool
}

extension AuditTrail {
    /// The most causes that are followed, and steps to consequences.
    package static let mostSteps = 100
    /// The most consequences that are told.
    package static let mostConsequences = 1000

    /// - Parameter name: the event's position, or its id.
    /// - Returns: `nil` where there is no such event.
    package func why(_ name: EventReference) async throws -> Why? {
        try await withTrail { connection, _ -> Why? in
            guard let event = try await entry(name, on: connection) else { return nil }
            var why = Why(
                event: event, causes: [], outsideCause: nil, isCircular: false, consequences: [], hasMore: false)
            var told = Set([event.eventID])
            var next = event.causationID
            var bytes = event.textBytes
            while let cause = next {
                guard why.causes.count < Self.mostSteps, bytes <= Self.mostBytes else {
                    why.hasMore = true
                    break
                }
                guard let id = EventID(text: cause.text), let entry = try await entry(.id(id), on: connection) else {
                    why.outsideCause = cause
                    break
                }
                guard told.insert(entry.eventID).inserted else {
                    why.isCircular = true
                    break
                }
                why.causes.append(entry)
                bytes += entry.textBytes
                next = entry.causationID
            }
            let (consequences, hasMore) = try await consequences(
                of: event, mostBytes: Self.mostBytes - bytes, on: connection)
            why.consequences = consequences
            why.hasMore = why.hasMore || hasMore
            return why
        }
    }

    /// The log finds an event by its id.
    private func entry(_ name: EventReference, on connection: PostgresConnection) async throws -> TrailEntry? {
        let (condition, value): (String, any PostgresEncodable) =
            switch name {
            case .position(let position): ("event.position = $1", position)
            case .id(let id): ("event.event_id = $1", id)
            }
        return try await connection.query(
            PostgresStatement(
                """
                SELECT \(TrailQuery.columns), \(TrailQuery.detail)
                  FROM events AS event JOIN audit_log AS trail ON trail.position = event.position
                 WHERE \(condition)
                """, [value])
        ).first.map { try TrailEntry($0) }
    }

    private static let effects = """
        SELECT \(TrailQuery.columns), \(TrailQuery.detail)
          FROM (SELECT * FROM audit_log WHERE causation_id = ANY ($1) AND causation_id IS NOT NULL
                 ORDER BY position LIMIT $2) AS trail
          LEFT JOIN events AS event ON event.position = trail.position
         ORDER BY trail.position
        """

    /// Step by step, so that a circle ends where it began.
    private func consequences(
        of event: TrailEntry, mostBytes: Int, on connection: PostgresConnection
    ) async throws -> (told: [(depth: Int, entry: TrailEntry)], hasMore: Bool) {
        var told = Set([event.eventID])
        var found: [ExactText: [TrailEntry]] = [:]
        var (count, bytes, hasMore, step) = (0, 0, false, [event.eventID])
        for _ in 0..<Self.mostSteps where !step.isEmpty {
            let room = Self.mostConsequences - count
            var next: [EventID] = []
            for try await row in connection.stream(Self.effects, step.map(\.text), room + 1) {
                // What is left of the answer comes, and is not kept.
                if hasMore { continue }
                let entry = try TrailEntry(row)
                guard told.insert(entry.eventID).inserted, let cause = entry.causationID else { continue }
                guard count < Self.mostConsequences, bytes <= mostBytes else {
                    hasMore = true
                    continue
                }
                found[cause, default: []].append(entry)
                next.append(entry.eventID)
                count += 1
                bytes += entry.textBytes
            }
            step = hasMore ? [] : next
        }
        // Each behind what it follows from.
        var (tree, open) = (
            [(depth: Int, entry: TrailEntry)](), (found[ExactText(event.eventID.text)] ?? []).reversed().map { (1, $0) }
        )
        while let (depth, entry) = open.popLast() {
            tree.append((depth, entry))
            open += (found[ExactText(entry.eventID.text)] ?? []).reversed().map { (depth + 1, $0) }
        }
        return (tree, hasMore || !step.isEmpty)
    }
}
