import EventStore
import LedgerCore
import Postgres

/// One read of the log for a subscription. All of it is from one snapshot.
struct LogPage: Sendable {
    var page: Delivery<FeedEvent>.Page
    var head: Position
    var epoch: EventID
    /// The last position, at most the one from which the read starts, that the subscription's
    /// history shares with the log. If it is lower, the page has no events.
    var shared: Position
    /// Whether the read went to a replica, which may lag behind what the subscription has.
    var isReplica: Bool
    /// Whether the size of its events ended the page.
    var isHeavy: Bool
    /// The level of durability that the ledger demands. The page may have events that have not
    /// reached it.
    var demand: Durability

    /// Whether a replica has not reached a position that the subscription has come to elsewhere. As
    /// far as the replica knows, the subscription's history is the log's.
    func isBehind(_ position: Position) -> Bool { isReplica && head < position && shared == head }
}

extension EventStore {
    /// The next events of a subscription. The page is limited to `limit` events and to about
    /// `bytes` bytes; a single event may be larger.
    /// - Parameter history: the epoch in which the subscription has come to `mark`, or its first
    ///   digits; `nil` for the present history.
    func events(
        _ selection: Selection, after mark: Delivery<FeedEvent>.Mark, of history: String?, limit: Int, bytes: Int
    ) async throws -> LogPage {
        let statement = Self.statement(selection, after: mark.position, of: history, limit: limit)
        return try await pool.withConnection { connection in
            var events: [FeedEvent] = []
            var last:
                (
                    head: Position, epoch: EventID, version: Int32?, type: String?, shared: Position, isReplica: Bool,
                    demand: String
                )?
            var size = 0
            var isHeavy = false
            for try await row in connection.stream(statement, chunk: bytes) {
                last = try (
                    row.decode(11), row.decode(12), row.decode(13), row.decode(14), row.decode(15), row.decode(16),
                    row.decode(17)
                )
                guard try row.decode(0, as: Position?.self) != nil else { break }
                if size >= bytes {
                    isHeavy = true
                    break
                }
                let event = FeedEvent(try RecordedEvent(row), of: ledger)
                size += event.json.count
                events.append(event)
            }
            // Cancels the rest of the statement now, so that the connection's next user does not
            // wait for it.
            if isHeavy { try await connection.query("SELECT") }
            guard let last else { throw PostgresError.unexpected("the ledger's own row is missing") }
            let demand = try Durability(column: last.demand)
            // A standby does not know what the others have. The next session may be with the
            // primary, as behind a proxy during a switchover.
            if demand > .local, last.isReplica { await connection.close() }
            let isFull = isHeavy || events.count == limit
            let end = Self.end(selection, after: mark.position, head: last.head)
            let hasMore = isFull || end < last.head
            let through =
                isFull
                ? selection.mark(events[events.count - 1])
                : Delivery.Mark(number: selection.onlyJob == nil ? end : Int64(last.version ?? 0), position: end)
            let isOver = selection.endsWithJob && last.type.flatMap(EventType.init(rawValue:))?.isEnd == true
            return LogPage(
                page: Delivery.Page(events: events, through: through, hasMore: hasMore, isLast: isOver && !hasMore),
                head: last.head, epoch: last.epoch, shared: last.shared, isReplica: last.isReplica, isHeavy: isHeavy,
                demand: demand)
        }
    }

    /// A read that filters by category or type scans at most this many events, however few of
    /// them match.
    static let scanLimit: Int64 = 50_000

    /// The position up to which a read scans.
    private static func end(_ selection: Selection, after position: Position, head: Position) -> Position {
        guard selection.jobs == nil, selection.category != nil, position < head else { return head }
        return position + min(head - position, scanLimit)
    }

    /// One statement, so that the head and the events are from one snapshot. It returns a row even
    /// if there is no event.
    private static func statement(
        _ selection: Selection, after position: Position, of history: String?, limit: Int
    ) -> PostgresStatement {
        var parameters = PostgresParameters(position, Int64(limit), history)
        let columns = RecordedEvent.columns()
        let types = selection.types.map { "AND type = ANY (\(parameters.add($0.map(\.rawValue))))" } ?? ""
        let events: String
        var last = "(SELECT NULL::integer AS version, NULL::text AS type)"
        if let jobs = selection.jobs, let category = selection.category {
            // Of each stream, the events after its last version at the position. That version is
            // searched from the end of the stream, because what a subscription saw last is usually
            // near it.
            events = """
                SELECT next.*
                  FROM unnest(\(parameters.add(Array(jobs)))::text[]) AS wanted (job)
                  CROSS JOIN LATERAL (
                         SELECT \(columns) FROM events
                          WHERE category = \(category.sql) AND stream_id = wanted.job \(types)
                            AND version > coalesce(CASE WHEN $1 > 0 THEN (
                                  SELECT version FROM events
                                   WHERE category = \(category.sql) AND stream_id = wanted.job
                                     AND position <= $1
                                   ORDER BY version DESC LIMIT 1) END, 0)
                          ORDER BY version LIMIT $2) AS next
                 ORDER BY position LIMIT $2
                """
            if let job = selection.onlyJob {
                last = """
                    (SELECT version, type FROM events
                      WHERE category = \(category.sql) AND stream_id = \(parameters.add(job))
                      ORDER BY version DESC LIMIT 1)
                    """
            }
        } else {
            let end =
                selection.category != nil ? "AND position <= least(now.head, $1 + \(parameters.add(scanLimit)))" : ""
            let category = selection.category.map { "AND \($0.filter)" } ?? ""
            events = """
                SELECT \(columns) FROM events WHERE position > $1 \(category) \(types) \(end)
                 ORDER BY position LIMIT $2
                """
        }
        return PostgresStatement(
            """
            SELECT event.*, now.head, now.epoch, last.version, last.type, now.shared, now.is_replica,
                   now.durability
              FROM (SELECT head() AS head, epoch, shared_position($3, $1) AS shared, pg_is_in_recovery() AS is_replica,
                           durability
                      FROM ledger OFFSET 0) AS now
              LEFT JOIN LATERAL \(last) AS last ON true
              LEFT JOIN LATERAL (\(events)) AS event ON now.shared = $1
             ORDER BY event.position
            """, parameters.values)
    }

    /// Where the log stands, and the last events of some streams in a stretch of it.
    struct StreamHeads: Sendable {
        var head: Position
        var epoch: EventID
        /// Whether the answer is of a replica, which may lag behind an earlier answer of another.
        var isReplica: Bool
        /// The secret behind the relay's ``MessageCode``.
        var secret: [UInt8]
        var streams: [StreamKey: (version: Int32, position: Position)] = [:]
    }

    /// - Parameter condition: on the category of the streams. Those that have the id of a wanted
    ///   stream, and another category, do no harm.
    private static func streamHeadsStatement(_ condition: String) -> String {
        """
        SELECT now.head, now.epoch, feed_key.secret, heads.id, heads.version, heads.position, pg_is_in_recovery(),
               heads.category
          FROM (\(LogHead.sql)) AS now
          CROSS JOIN feed_key
          LEFT JOIN LATERAL (
                 SELECT category, stream_id AS id, max(version) AS version, max(position) AS position
                   FROM events
                  WHERE position > $1 AND position <= coalesce($2, now.head) AND now.head - $1 <= $3
                    AND \(condition) AND stream_id = ANY ($4)
                  GROUP BY category, stream_id) AS heads ON true
        """
    }

    /// The last events of those streams that have any in a stretch of the log. The cost grows with
    /// the length of the stretch, not with the number of streams.
    /// - Parameters:
    ///   - upTo: `nil` for the head.
    ///   - most: a stretch of more positions than this is not searched.
    func streamHeads(
        of streams: [StreamKey], after position: Position, upTo: Position?, most: Int64
    ) async throws -> StreamHeads {
        let categories = streams.isEmpty ? [.job] : Set(streams.map(\.category))
        let names = categories.map(\.sql).sorted()
        let condition = names.count == 1 ? "category = \(names[0])" : "category IN (\(names.joined(separator: ", ")))"
        let rows = try await pool.withConnection {
            try await $0.query(Self.streamHeadsStatement(condition), position, upTo, most, streams.map(\.id))
        }
        var heads: StreamHeads?
        for row in rows {
            if heads == nil {
                let secret = try row.decode(2, as: PostgresBytes.self).bytes
                heads = StreamHeads(
                    head: try row.decode(0), epoch: try row.decode(1), isReplica: try row.decode(6), secret: secret)
            }
            guard let id = try row.decode(3, as: JobID?.self) else { continue }
            let last: (version: Int32, position: Position) = (try row.decode(4), try row.decode(5))
            let category = try Category(try row.decode(7, as: String.self), at: last.position)
            heads?.streams[StreamKey(category, id)] = last
        }
        guard let heads else { throw PostgresError.unexpected("the ledger's own row is missing") }
        return heads
    }
}
