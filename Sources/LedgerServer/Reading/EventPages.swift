import EventStore
import LedgerCore
import Postgres

/// Events as pages: whole CloudEvents, with all of their data.
///
/// A page looks at so many events and no more, however few of them are wanted: it may be short, or
/// empty, and there may be more behind it.
struct EventPages: Sendable {
    struct Page: Sendable {
        /// CloudEvents in JSON, in the log's order.
        var events: [[UInt8]] = []
        /// Behind which place to go on: a position, or a job's version; `nil` where there was no
        /// more.
        var next: Int64?
    }

    let store: EventStore

    /// About how many bytes a page may have; it ends early where the data are large.
    private static let maxBytes = 4 << 20
    /// The most events that are looked at for a page.
    static let scanLimit: Int64 = 50_000

    /// Of all jobs, behind a position.
    func page(after position: Position, types: Set<EventType>?, limit: Int) async throws -> Page {
        let head = try await store.head()
        guard position < head else { return Page() }
        let end = min(head - position, Self.scanLimit) + position
        let query = EventQuery(after: position, upTo: end, types: types, limit: limit)
        return try await page(query, end: end, last: head) { $0.position }
    }

    /// Of one job, behind a version; `nil` where there is no such job.
    func page(of job: JobID, after version: Int32, types: Set<EventType>?, limit: Int) async throws -> Page? {
        guard let last = try await lastVersion(of: job) else { return nil }
        guard version < last else { return Page() }
        let end = Int32(min(Int64(last - version), Self.scanLimit)) + version
        var query = EventQuery(job: job, types: types, limit: limit)
        (query.afterVersion, query.upToVersion) = (version, end)
        return try await page(query, end: Int64(end), last: Int64(last)) { Int64($0.version) }
    }

    /// - Parameters:
    ///   - end: the last place that the query looks at.
    ///   - last: the last place that there is.
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

    /// What `?after=` says: a position, or the end of the log as it is now.
    func position(_ query: Query) async throws -> Position {
        try query.all("after") == ["head"] ? await store.head() : query.position("after") ?? 0
    }

    /// The position of a job's event of this version, or of its last one before; 0 where it has
    /// none.
    func position(of job: JobID, version: Int32) async throws -> Position {
        try await store.pool.withConnection { connection in
            try await connection.query(
                """
                SELECT coalesce((SELECT position FROM events WHERE category = 'job' AND stream_id = $1 AND version <= $2
                                  ORDER BY version DESC LIMIT 1), 0)
                """, job, version
            ).only().decode(0)
        }
    }

    private func lastVersion(of job: JobID) async throws -> Int32? {
        try await store.pool.withConnection { connection in
            try await connection.query(
                "SELECT max(version) FROM events WHERE category = 'job' AND stream_id = $1", job
            ).only().decode(0)
        }
    }
}
