import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// What both the migrations and the program say about events is the same in both.
@Suite struct LimitsTests {
    @Test func ofCallsAndData() async throws {
        try await TestLedger.with { ledger in
            let row = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT longest_batch(), longest_data()").only()
            }
            #expect(try row.decode(0, as: Int32.self) == Int32(AppendLimits.eventsInCall))
            #expect(try row.decode(1, as: Int32.self) == Int32(AppendLimits.bytesOfData))
        }
    }

    @Test func ofPositions() async throws {
        try await TestLedger.with { ledger async throws in
            let owner = try await ledger.connect()
            let last = Position.positions.upperBound
            let isAccepted: Bool = try await owner.query("SELECT \(last)::event_position IS NOT NULL").only().decode(0)
            #expect(isAccepted)
            let error = try await #require(throws: PostgresError.self) {
                try await owner.query("SELECT \(last + 1)::event_position IS NOT NULL")
            }
            #expect(error.description.contains("event_position_countable"), "\(error)")
            await owner.close()
        }
    }

    /// The texts in the body of `is_event_type`, which are the types that the ledger accepts, and
    /// whether each ends a job.
    private static let typesInSQL = """
        SELECT found.parts[1] AS type, ends_job(found.parts[1]) AS ends
          FROM regexp_matches(pg_get_functiondef('is_event_type(text)'::regprocedure), '''([^'']+)''', 'g')
            AS found (parts)
        """

    @Test func ofTypes() async throws {
        try await TestLedger.with { ledger in
            let rows = try await ledger.store.pool.withConnection { try await $0.query(Self.typesInSQL) }
            var ends: [String: Bool] = [:]
            for row in rows { ends[try row.decode("type")] = try row.decode("ends") as Bool }
            #expect(ends == Dictionary(uniqueKeysWithValues: EventType.jobTypes.map { ($0.rawValue, $0.isEnd) }))
        }
    }
}
