package import EventStore
package import LedgerCore
import Postgres

/// The causes and the consequences of an event.
package struct Why: Sendable {
    package var event: TrailEntry
    /// Its cause, the cause of that one, and so on.
    package var causes: [TrailEntry]
    /// The causation id at the end of the causes, where it is not the id of an event in this
    /// ledger: the cause is outside.
    package var outsideCause: ExactText?
    /// Whether the causes lead back to one of them, or to the event itself.
    package var isCircular: Bool
    /// The events that it caused, directly or not, each after its own cause. `depth` is the number
    /// of steps from the event.
    package var consequences: [(depth: Int, entry: TrailEntry)]
    /// Whether there are more causes or consequences than these.
    package var hasMore: Bool
}

extension AuditTrail {
    /// The most causes that are followed, and the most steps to consequences.
    package static let mostSteps = 100
    /// The most consequences that are returned.
    package static let mostConsequences = 1000

    /// - Parameter name: the position or the id of the event.
    /// - Returns: `nil` where there is no such event.
    /// - Throws: ``NotProjected``
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

    /// Joins with the log, which has the index by event id.
    private func entry(_ name: EventReference, on connection: PostgresConnection) async throws -> TrailEntry? {
        let (condition, value): (String, any PostgresEncodable) =
            switch name {
            case .position(let position): ("event.position = $1", position)
            case .id(let id): ("event.event_id = $1", id)
            }
        let statement = PostgresStatement(Self.select(where: condition), [value])
        return try await connection.query(statement).first.map { try TrailEntry($0) }
    }

    private static func select(where condition: String) -> String {
        """
        SELECT \(TrailQuery.columns), \(TrailQuery.detail)
          FROM events AS event JOIN audit_log AS trail ON trail.position = event.position
         WHERE \(condition)
        """
    }

    /// The events that these events have caused.
    private static let selectCaused = """
        SELECT \(TrailQuery.columns), \(TrailQuery.detail)
          FROM (SELECT * FROM audit_log WHERE causation_id = ANY ($1) AND causation_id IS NOT NULL
                 ORDER BY position LIMIT $2) AS trail
          LEFT JOIN events AS event ON event.position = trail.position
         ORDER BY trail.position
        """

    /// Follows the consequences step by step. An event that was found before is not followed again,
    /// so a circle ends.
    private func consequences(
        of event: TrailEntry, mostBytes: Int, on connection: PostgresConnection
    ) async throws -> (told: [(depth: Int, entry: TrailEntry)], hasMore: Bool) {
        var told = Set([event.eventID])
        var found: [ExactText: [TrailEntry]] = [:]
        var (count, bytes, hasMore, step) = (0, 0, false, [event.eventID])
        for _ in 0..<Self.mostSteps where !step.isEmpty {
            let room = Self.mostConsequences - count
            var next: [EventID] = []
            for try await row in connection.stream(Self.selectCaused, step.map(\.text), room + 1) {
                // The server sends the remaining rows anyway.
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
        // Depth first, so that each event comes after its cause.
        var tree: [(depth: Int, entry: TrailEntry)] = []
        var open = (found[ExactText(event.eventID.text)] ?? []).reversed().map { (1, $0) }
        while let (depth, entry) = open.popLast() {
            tree.append((depth, entry))
            open += (found[ExactText(entry.eventID.text)] ?? []).reversed().map { (depth + 1, $0) }
        }
        return (tree, hasMore || !step.isEmpty)
    }
}
