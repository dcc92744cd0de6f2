import LedgerCore
import Postgres

/// The ids of the events that a relay has published last, by which it notices that the log was
/// restored from a snapshot: then other events have their positions, or none.
///
/// It remembers ``most`` events, and of those before every ``most / 10``th, again as many.
struct PublishedEvents: Sendable {
    struct Event: Sendable, Equatable {
        var position: Position
        var id: EventID
    }

    private(set) var recent: [Event] = []
    private(set) var samples: [Event] = []
    let most: Int
    /// The last event that was found in its place.
    private var checked: Position = 0

    init(most: Int = 10_000) { self.most = most }

    /// Remembers what an earlier relay has published, in order.
    init(remembering events: [Event]) {
        self.init()
        recent = events
    }

    var last: Event? { recent.last ?? samples.last }
    /// All that are remembered, by position.
    var all: [Event] { samples + recent }

    /// Some of them, by position: the last ones, and of those before as many again.
    var excerpt: [Event] {
        let (all, few) = (all, 250)
        let older = all.dropLast(few)
        let step = max(1, older.count / few)
        return stride(from: older.startIndex, to: older.endIndex, by: step).map { older[$0] } + all.suffix(few)
    }

    /// Adds events with consecutive positions.
    mutating func add(_ ids: [EventID], upTo position: Position) {
        for (index, id) in ids.enumerated() {
            let event = Event(position: position - Int64(ids.count - 1 - index), id: id)
            // A relay repeats what it had published when it lost a session.
            guard event.position > last?.position ?? 0 else { continue }
            recent.append(event)
        }
        // Forgetting many at once makes the cost of one constant.
        guard recent.count > 2 * most else { return }
        let dropped = recent.count - most
        samples += recent[..<dropped].filter { $0.position % Int64(max(1, most / 10)) == 0 }
        recent.removeFirst(dropped)
        if samples.count > 2 * most { samples.removeFirst(samples.count - most) }
    }

    /// The last event that was found in its place, and at most a thousand of those that were
    /// published after it, the oldest first: where the log was restored, these differ, whatever was
    /// published since.
    var unchecked: [Event] { Array(recent.drop { $0.position < checked }.prefix(1_001)) }

    /// The events up to a position are in their places.
    mutating func check(upTo position: Position) { checked = position }

    /// Forgets the events behind a position, which are gone.
    mutating func forget(after position: Position) {
        recent.removeAll { $0.position > position }
        samples.removeAll { $0.position > position }
        checked = min(checked, position)
    }
}

extension PostgresConnection {
    /// The ids of the last events up to a position, and of some of those before, as a relay would
    /// remember them that has published them all.
    func publishedEvents(upTo position: Position) async throws -> [PublishedEvents.Event] {
        let most: Position = 10_000
        return try await query(
            """
            SELECT position, event_id FROM events
             WHERE position > $1::bigint - $2 AND position <= $1
             UNION ALL
            SELECT position, event_id
              FROM generate_series(1000, $1::bigint - $2, greatest(1, $1 / (1000 * $2)) * 1000) AS position
                   JOIN events USING (position)
             ORDER BY position
            """, position, most
        ).map { PublishedEvents.Event(position: try $0.decode(0), id: try $0.decode(1)) }
    }

    /// Whether the log still has all these events in their places.
    func stillHas(_ events: [PublishedEvents.Event]) async throws -> Bool {
        try await query(
            """
            SELECT NOT EXISTS (SELECT FROM unnest($1::bigint[], $2::uuid[]) AS published (position, id)
                                      LEFT JOIN events USING (position)
                                WHERE events.event_id IS DISTINCT FROM published.id)
            """, events.map(\.position), events.map(\.id)
        ).only().decode(0)
    }

    /// Begins an epoch where the log does not have these events any more, unless one has begun.
    /// - Parameter epoch: in which they were published.
    /// - Returns: how much of them the log shares.
    func noticeRestore(of events: [PublishedEvents.Event], in epoch: EpochDigits) async throws -> Position {
        try await query(
            "SELECT notice_restore($1, $2, $3)", epoch.text, events.map(\.position), events.map(\.id)
        ).only().decode(0)
    }
}
