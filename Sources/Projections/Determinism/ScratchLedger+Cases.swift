import Categories
import EventStore
import LedgerCore
import Postgres

extension ScratchLedger {
    /// A scratch ledger that has these categories.
    static func with<T: Sendable>(
        url: String, categories: [CategoryDefinition], _ body: (ScratchLedger) async throws -> T
    ) async throws -> T {
        try await with(url: url) { ledger in
            try await CategoryInstall(categories).apply(on: ledger.connection)
            return try await body(ledger)
        }
    }

    /// Appends the events of a case.
    /// - Parameters:
    ///   - category: that of events which name a stream and no category.
    ///   - order: the numbers of the events, from 1, in the order in which they are appended; the
    ///     case's order unless given.
    func append(_ text: String, category: Category? = nil, order: [Int]? = nil) async throws {
        // json, not jsonb, keeps the data exactly as the case writes them.
        try await connection.query(Self.appending, text, order, category?.text)
        guard text.contains("recorded_at") else { return }
        // Only the ledger sets recorded_at, so a case's value is written over it. This ledger is
        // rolled back.
        try await connection.execute(script: Self.guardOfEvents(isOn: false))
        try await connection.query(Self.backdating, text)
        try await connection.execute(script: Self.guardOfEvents(isOn: true))
    }

    private static let appending = """
        SELECT append_event(coalesce(event ->> 'job', event ->> 'stream'), event ->> 'type',
                            coalesce(event -> 'data', '{}'), coalesce(event -> 'metadata', '{}'),
                            event_id => (event ->> 'event_id')::uuid,
                            occurred_at => (event ->> 'occurred_at')::timestamptz,
                            category => CASE WHEN event ->> 'job' IS NULL
                                             THEN coalesce(event ->> 'category', $3) ELSE 'job' END)
          FROM json_array_elements($1::json -> 'events') WITH ORDINALITY AS given (event, ordinal)
         ORDER BY coalesce(array_position($2::bigint[], ordinal), ordinal)
        """

    /// The trigger that refuses changes of events.
    private static func guardOfEvents(isOn: Bool) -> String {
        "ALTER TABLE events \(isOn ? "ENABLE" : "DISABLE") TRIGGER events_append_only"
    }

    private static let backdating = """
        UPDATE events AS e SET recorded_at = (event ->> 'recorded_at')::timestamptz
          FROM json_array_elements($1::json -> 'events') AS event
         WHERE e.event_id = (event ->> 'event_id')::uuid AND event ->> 'recorded_at' IS NOT NULL
        """
}
