internal import EventStore
internal import LedgerCore
internal import Postgres

/// Events as pages: whole CloudEvents, with all of their data.
struct EventPages: Sendable {
    struct Page: Sendable {
        /// CloudEvents in JSON, in the log's order.
        var events: [[UInt8]] = []
        /// Of the last event.
        var last: (position: Position, version: Int32)?
        /// Whether there may be more behind it.
        var hasMore = false
    }

    let store: EventStore

    /// About how many bytes a page may have; it ends early where the data are large.
    private static let mostBytes = 4 << 20

    /// - Parameter query: with the limit of the page.
    func page(_ query: EventQuery) async throws -> Page {
        try await store.pool.withConnection { connection in
            var page = Page()
            var bytes = 0
            for try await event in connection.events(query) {
                let json = CloudEvent(event, of: store.ledger).json
                page.events.append(json)
                page.last = (event.position, event.version)
                bytes += json.count
                if bytes > Self.mostBytes { break }
            }
            page.hasMore = page.events.count == query.limit || bytes > Self.mostBytes
            return page
        }
    }

    /// What `?after=` says: a position, or the end of the log as it is now.
    func position(_ query: Query) async throws -> Position {
        try query.all("after") == ["head"] ? await store.head() : query.position("after") ?? 0
    }

    /// The position of a job's event of this version, or of its last one before; 0 where it has none.
    func position(of job: String, version: Int32) async throws -> Position {
        try await store.pool.withConnection { connection in
            try await connection.query(
                """
                SELECT coalesce((SELECT position FROM events WHERE category = 'job' AND stream_id = $1 AND version <= $2
                                  ORDER BY version DESC LIMIT 1), 0)
                """, job, version
            ).only().decode(0)
        }
    }

    func exists(_ job: String) async throws -> Bool { try await position(of: job, version: 1) > 0 }
}
