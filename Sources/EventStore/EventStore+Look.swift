import LedgerCore
import Postgres

/// What a follower sees when it looks.
public struct Look: Sendable {
    public var head: Position
    public var epoch: EventID
    /// The first of the events that were asked for, with all of their data.
    public var events: [RecordedEvent]
    /// Whether there may be events up to the head behind these.
    public var hasMore: Bool
}

extension EventStore {
    /// The most events that a look brings, and the most bytes of data each: for more it pays to ask again and have them streamed.
    private static let mostEvents = 100
    private static let largestData = 64 << 10

    /// The head, the epoch and the first events, in one round trip.
    public func look(_ query: EventQuery) async throws -> Look {
        var page = query
        page.limit = Self.mostEvents
        page.largestData = query.largestData ?? Self.largestData
        let statements = [PostgresStatement("SELECT head(), epoch FROM ledger"), page.statement]
        let answers = try await pool.withConnection { try await $0.pipeline(statements) }
        let ledger = try answers[0].get().only()
        let rows = try answers[1].get()
        var events = try rows.map { try RecordedEvent($0) }
        // What was left out only to bound this look is read with the rest.
        if query.largestData == nil { events = Array(events.prefix { $0.data != nil }) }
        return Look(
            head: try ledger.decode(0), epoch: try ledger.decode(1), events: events,
            hasMore: rows.count == Self.mostEvents || events.count < rows.count)
    }
}
