import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// The records that count as evidence name their author and time by themselves. Each role tries to
/// forge them.
@Suite struct ForgeryTests {
    /// No role can write any record without the ledger's functions.
    @Test(arguments: ["appender", "reader", "subscriber", "relay", "projector", "sealer", "auditor"])
    func noRoleWritesARecordItself(_ role: String) async throws {
        try await TestLedger.with { ledger in
            let eve = try await ledger.session(as: role)
            for record in [
                "events", "ledger", "refusals", "receipts", "skipped_events", "drift_checks", "subscriptions", "tokens",
                "seal", "seal_tiles", "seal_checkpoints", "schema_migrations",
            ] {
                let column: String = try await ledger.store.pool.withConnection {
                    try await $0.query(
                        """
                        SELECT attname::text FROM pg_attribute
                         WHERE attrelid = to_regclass($1) AND attnum > 0 AND attidentity = '' LIMIT 1
                        """, record
                    ).first?.decode(0) ?? ""
                }
                if column.isEmpty { continue }
                for sql in [
                    "INSERT INTO \(record) DEFAULT VALUES", "UPDATE \(record) SET \(column) = \(column)",
                    "DELETE FROM \(record)", "TRUNCATE \(record)", "ALTER TABLE \(record) DISABLE TRIGGER ALL",
                    "DROP TABLE \(record)",
                ] { try await eve.expectRefusal(of: sql) }
            }
            // Nor can it make objects that the ledger's functions would use instead of the right
            // ones.
            for sql in [
                "CREATE FUNCTION \(ledger.name).lower(name) RETURNS text LANGUAGE sql RETURN 'x'",
                "CREATE TABLE \(ledger.name).mine ()", "CREATE VIEW \(ledger.name).mine AS SELECT 1",
                "CREATE TYPE \(ledger.name).mine AS ENUM ()",
                "CREATE OPERATOR \(ledger.name).= (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)",
                "CREATE FUNCTION \(ledger.name).head(text) RETURNS bigint LANGUAGE sql RETURN 1",
            ] { try await eve.expectRefusal(of: sql) }
            await eve.close()
        }
    }

    /// Records refusals, with `text` as every text of them.
    /// - Parameter ago: the milliseconds since the first and the last of them.
    private static func note(
        _ connection: PostgresConnection, ago: (Int64, Int64) = (0, 0), times: Int64 = 1, text: String = "x",
        code: String = "forbidden", rows: Int = 1
    ) async throws {
        func all<Value>(_ value: Value) -> [Value] { Array(repeating: value, count: rows) }
        try await connection.query(
            "SELECT note_refusals($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            all(ago.0), all(ago.1), all(times), all(text), all(text), all(text), all(text), all(text), all(text),
            all(text), all(EventID.version7()), all(code), all(text))
    }

    /// Whatever the caller says, a refusal has the database's time and the session's user, and its
    /// other values are bounded.
    @Test func refusalsHaveTheSessionsAuthorAndTheDatabasesTime() async throws {
        try await TestLedger.with { ledger in
            let appender = try await ledger.session(as: "appender")
            let far = Int64.max
            try await Self.note(appender, ago: (far, 0), times: far, text: String(repeating: "ü", count: 100_000))
            try await Self.note(appender, ago: (-far, -far))
            try await Self.note(appender, ago: (0, 60_000))
            let admin = try await ledger.connect()
            let rows = try await admin.query(
                """
                SELECT last_at BETWEEN clock_timestamp() - interval '10 min' AND clock_timestamp(),
                       first_at >= last_at - interval '1 hour',
                       noted_by = $1,
                       greatest(length(token), length(peer), length(method), length(path), length(actor), length(job),
                                length(type), length(detail)) <= 300,
                       times <= 1000000000
                  FROM refusals
                """, try await appender.sessionUser())
            #expect(rows.count == 3)
            for row in rows {
                for column in 0..<5 { #expect(try row.decode(column, as: Bool.self), "condition \(column)") }
            }
            // An unknown code, a number that is not positive, more rows than a service ever has at
            // once.
            await #expect(throws: PostgresError.self) { try await Self.note(appender, code: "it was ada") }
            await #expect(throws: PostgresError.self) { try await Self.note(appender, times: 0) }
            let error = await #expect(throws: PostgresError.self) { try await Self.note(appender, rows: 2001) }
            #expect(error?.message.contains("at most 2000") == true)
            // The same bounds hold for the owner, who can write without the function.
            await #expect(throws: PostgresError.self) {
                try await admin.query(
                    """
                    INSERT INTO refusals (first_at, last_at, times, method, path, code, detail)
                    VALUES ('-infinity', 'infinity', 1, 'GET', '/', 'forbidden', '')
                    """)
            }
            for connection in [appender, admin] { await connection.close() }
        }
    }

    /// A projector removes an event's effect from its tables and skips the event. `verify` reports
    /// that, and by whom.
    @Test func aSkipWithoutNeedIsNoticed() async throws {
        try await TestLedger.with { ledger in
            let definition = try ProjectionDefinition.countingEvents()
            try await ledger.queue("a")
            for count in 1...3 { try await ledger.progress("a", count) }
            try await ledger.projecting([definition]) { try await ledger.caughtUp("counts") }
            let eve = try await ledger.session(as: "projector")
            try await eve.expectRefusal(
                of: """
                    INSERT INTO skipped_events (projection, definition, position, event_id, error, reason, skipped_by,
                                            role)
                    VALUES ('counts', '\(definition.hash)', 4, gen_random_uuid(), 'x', 'x', 'ada', 'ada')
                    """)
            let skip = PostgresStatement("SELECT skip_event('counts', 4, 'no need', 'ada@home')")
            await #expect(throws: PostgresError.self, "it is not stopped") { try await eve.query(skip) }
            try await eve.execute(
                script: """
                    UPDATE projections SET state = 'stopped', failed_position = 4, error = 'made up', position = 3
                     WHERE name = 'counts'
                    """)
            try await eve.query(skip)
            try await eve.execute(
                script: "UPDATE counts SET count = 3; UPDATE projections SET position = 4 WHERE name = 'counts'")
            let finding = try await ledger.verify(definition)
            #expect(finding.liveDigest == finding.rebuiltDigest && !finding.isEqual)
            let skipped = try #require(finding.skipped.first)
            #expect(finding.skipped.count == 1 && skipped.canBeFolded && skipped.record.position == 4)
            let author = try await eve.sessionUser()
            #expect(skipped.record.role == author && skipped.record.skippedBy == "ada@home")
            // The receipt of the verification says that an event was left out.
            let admin = try await ledger.connect()
            let receipt = try #require(try await RecordedReceipt.last(1, of: "counts", on: admin).first)
            #expect(receipt.leftOut == 1)
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// Row policies do not restrict LOCK TABLE. No role may lock a table, and so stop the others.
    @Test func noRoleLocksATableOfOthers() async throws {
        try await TestLedger.with { ledger in
            for role in ["appender", "reader", "subscriber", "relay", "projector", "sealer", "auditor"] {
                let eve = try await ledger.session(as: role)
                for table in [
                    "leases", "checkpoints", "events", "ledger", "serialiser", "seal", "tokens", "subscriptions",
                    "refusals", "receipts", "skipped_events", "read_models", "feed_key", "schema_migrations",
                    "projections",
                ] {
                    for mode in ["SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"] {
                        try await eve.expectRefusal(of: "DO $$ BEGIN LOCK TABLE \(table) IN \(mode) MODE; END $$")
                    }
                }
                await eve.close()
            }
        }
    }

    /// Receipts and drift checks have the session's user and the database's time. Drift that was
    /// found stays on record.
    @Test func receiptsAndDriftChecksHaveTheSessionsAuthor() async throws {
        try await TestLedger.with { ledger in
            let eve = try await ledger.session(as: "projector")
            try await eve.query(
                "SELECT record_receipt('undo', 'counts', 'x', 1, null, null, null, null, null, null, null, null, $1)",
                String(repeating: "ada", count: 1000))
            let admin = try await ledger.connect()
            let row = try await admin.query(
                """
                SELECT role, length(made_by),
                       made_at BETWEEN clock_timestamp() - interval '10 min' AND clock_timestamp()
                  FROM receipts
                """
            ).only()
            let author = try await eve.sessionUser()
            #expect(try row.decode(0, as: String.self) == author)
            #expect(try row.decode(1, as: Int32.self) == 300 && row.decode(2, as: Bool.self))
            // Durations that no rebuild can have.
            for seconds in [-1, 1.7e308, .infinity, .nan] {
                await #expect(throws: PostgresError.self, "\(seconds)") {
                    try await eve.query(
                        """
                        SELECT record_receipt('undo', 'counts', 'x', 1, null, null, null, null, $1, null, null, null,
                                              'me')
                        """, seconds)
                }
            }
            try await eve.query("SELECT record_drift_check('counts', 10, 2, 5, 'a row')")
            for (compared, differing) in [(-10, -2), (1, 2), (Int64.max, 0)] {
                await #expect(throws: PostgresError.self) {
                    try await eve.query("SELECT record_drift_check('counts', $1, $2, 5, null)", compared, differing)
                }
            }
            try await eve.query("SELECT record_drift_check('counts', 10, 0, 6, null)")
            let drift = try await admin.query("SELECT jobs, drifted, last_drift, checked_by FROM drift_checks").only()
            #expect(try drift.decode(0, as: Int64.self) == 20 && drift.decode(1, as: Int64.self) == 2)
            #expect(try drift.decode(2, as: String.self) == "a row" && drift.decode(3, as: String.self) == author)
            for connection in [eve, admin] { await connection.close() }
        }
    }

    /// A subscriber can read another user's subscription, but cannot move, take or forget it,
    /// whether it is held or free.
    @Test func aSubscriptionBelongsToItsUser() async throws {
        try await TestLedger.with { ledger in
            for _ in 1...2 { try await ledger.queue(EventID.version7().text) }
            let (ada, eve) = (
                try await ledger.session(as: "subscriber", user: "ada"),
                try await ledger.session(as: "subscriber", user: "eve")
            )
            let secret = EventID.version7().text
            try await ada.query("SELECT take_subscription('mail', $1, '30 s', 0)", secret)
            let holder: String = try await eve.query("SELECT holder FROM subscriptions WHERE name = 'mail'").only()
                .decode(0)
            #expect(holder != secret)
            func tryInVain(_ connection: PostgresConnection, _ holder: String) async throws {
                let isMoved: Bool = try await connection.query("SELECT acknowledge('mail', $1, 2)", holder).only()
                    .decode(0)
                #expect(!isMoved)
                try await connection.query("SELECT release_subscription('mail', $1)", holder)
            }
            try await tryInVain(eve, holder)
            try await tryInVain(eve, secret)
            // Another process of the same user does not know the secret either.
            try await tryInVain(ada, holder)
            #expect(try await ada.query("SELECT take_subscription('mail', $1, '30 s', 0)", holder).isEmpty)
            for isHeld in [true, false] {
                if !isHeld { try await ada.query("SELECT release_subscription('mail', $1)", secret) }
                await #expect(throws: PostgresError.self) {
                    try await eve.query("SELECT take_subscription('mail', $1, '30 s', 0)", holder)
                }
                await #expect(throws: PostgresError.self) { try await eve.query("SELECT forget_subscription('mail')") }
            }
            let row = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT position, bound_to FROM subscriptions").only()
            }
            #expect(try row.decode(0, as: Position.self) == 0)
            let author = try await ada.sessionUser()
            #expect(try row.decode(1, as: String.self) == author)
            // The ledger's owner can give it to another user.
            _ = try await ledger.store.pool.withConnection {
                try await $0.query("SELECT give_subscription('mail', $1)", try await eve.sessionUser())
            }
            try await eve.query("SELECT take_subscription('mail', $1, '30 s', 0)", EventID.version7().text)
            await #expect(throws: PostgresError.self) {
                try await ada.query("SELECT take_subscription('mail', $1, '30 s', 0)", secret)
            }
            for connection in [ada, eve] { await connection.close() }
        }
    }
}
