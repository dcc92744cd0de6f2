import EventStore
import LedgerCore
import Postgres

/// Reads events as pages: complete CloudEvents, with all of their data.
///
/// A page scans a limited number of events, however few of them match. So it may be short or empty
/// although more follow it.
struct EventPages: Sendable {
    struct Page: Sendable {
        /// CloudEvents as JSON, in the order of the log.
        var events: [[UInt8]] = []
        /// The place after which the next page begins: a position, or a version of the stream;
        /// `nil` if nothing follows.
        var next: Int64?
    }

    let store: EventStore

    /// A page ends early once it has about this many bytes.
    private static let maxBytes = 4 << 20
    /// The maximum number of events that a page scans.
    static let scanLimit: Int64 = 50_000

    /// A page of all events after a position, or of those of a category.
    /// - Throws: ``Problem`` for a position beyond the end: an empty page would let the client skip
    ///   the events that the log gets up to there. `UnknownKind` for a category, or a type of it,
    ///   that the ledger does not have.
    func page(
        after position: Position, category: Category?, types: Set<EventType>?, limit: Int
    ) async throws -> Page {
        try await store.require(category, types)
        let head = try await store.head()
        guard position <= head else { throw Problem.anotherLedger(position, head: head) }
        guard position < head else { return Page() }
        let end = min(head - position, Self.scanLimit) + position
        let query = EventQuery(after: position, upTo: end, category: category, types: types, limit: limit)
        return try await page(query, end: end, last: head) { $0.position }
    }

    /// A page of one stream's events after a version; `nil` if there is no such stream.
    /// - Throws: `UnknownKind` for a category, or a type of it, that the ledger does not have.
    func page(
        of category: Category, _ id: JobID, after version: Int32, types: Set<EventType>?, limit: Int
    ) async throws -> Page? {
        try await store.require(category, types)
        guard let last = try await lastVersion(of: category, id) else { return nil }
        guard version < last else { return Page() }
        let end = Int32(min(Int64(last - version), Self.scanLimit)) + version
        var query = EventQuery(category: category, job: id, types: types, limit: limit)
        (query.afterVersion, query.upToVersion) = (version, end)
        return try await page(query, end: Int64(end), last: Int64(last)) { Int64($0.version) }
    }

    /// - Parameters:
    ///   - end: the last place that the query scans.
    ///   - last: the last place that exists.
    private func page(
        _ query: EventQuery, end: Int64, last: Int64, place: @Sendable (RecordedEvent) -> Int64
    ) async throws -> Page {
        try await store.pool.withConnection { connection in
            var page = Page()
            var (bytes, reached) = (0, end)
            for try await event in connection.events(query) {
                let json = CloudEvent(event, of: store.ledger).json
                page.events.append(json)
                bytes += json.count
                if page.events.count == query.limit || bytes > Self.maxBytes {
                    reached = place(event)
                    break
                }
            }
            if reached < last { page.next = reached }
            return page
        }
    }

    /// The position in `?after=`: a number, or `head` for the current end of the log.
    func position(_ query: Query) async throws -> Position {
        try query.all("after") == ["head"] ? await store.head() : query.position("after") ?? 0
    }

    /// The position of the stream's event with this version, or of the last one before it; 0 if
    /// there is none.
    func position(of category: Category, _ id: JobID, version: Int32) async throws -> Position {
        let statement = """
            SELECT coalesce((SELECT position FROM events
                              WHERE category = \(category.sql) AND stream_id = $1 AND version <= $2
                              ORDER BY version DESC LIMIT 1), 0)
            """
        return try await store.pool.withConnection { connection in
            try await connection.query(statement, id, version).only().decode(0)
        }
    }

    private func lastVersion(of category: Category, _ id: JobID) async throws -> Int32? {
        try await store.pool.withConnection { connection in
            try await connection.query(
                "SELECT max(version) FROM events WHERE category = \(category.sql) AND stream_id = $1", id
            ).only().decode(0)
        }
    }
}
