import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// The same events make the same tables, byte for byte, in databases of every locale and with any
/// settings.
@Suite struct DatabaseMatrixTests {
    /// Settings of the database that change the meaning of statements or the form of values.
    static let odd = [
        "\"DateStyle\" = 'SQL, DMY'", "\"IntervalStyle\" = 'sql_standard'", "\"TimeZone\" = 'Pacific/Chatham'",
        "extra_float_digits = -15", "bytea_output = 'escape'", "standard_conforming_strings = off",
        "backslash_quote = off", "array_nulls = off", "transform_null_equals = on", "quote_all_identifiers = on",
        "row_security = off", "check_function_bodies = off", "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on", "synchronous_commit = off", "statement_timeout = '20s'",
        "lock_timeout = '20s'", "idle_in_transaction_session_timeout = '20s'", "idle_session_timeout = '20s'",
        "search_path = 'pg_temp'", "client_encoding = 'LATIN1'", "plan_cache_mode = 'force_custom_plan'",
        "enable_indexscan = off", "jit = on", "jit_above_cost = 0", "lc_messages = 'C'", "xmloption = 'document'",
        "timezone_abbreviations = 'India'", "default_text_search_config = 'pg_catalog.german'",
    ]

    @Test func theSameTablesEverywhere() async throws {
        var plain: [String] = []
        for (options, settings) in [
            ("LOCALE 'C'", []), ("LOCALE 'C.UTF-8'", Self.odd),
            ("LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-u-kn-true'", []),
            ("LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk-ks-level2'", Self.odd),
        ] {
            try await TestDatabase.with("ENCODING 'UTF8' \(options)", settings: settings) { url in
                try await TestLedger.with(url: url) { ledger in
                    let content = try await Self.content(of: ledger)
                    #expect(content.count > 60)
                    if plain.isEmpty { plain = content }
                    #expect(Set(content).symmetricDifference(plain).sorted() == [], "\(options)")
                    let limits = try await ledger.store.pool.withConnection { connection in
                        try await connection.query(
                            """
                            SELECT setting FROM pg_settings
                             WHERE name ~ '_timeout$' AND name ~ '^(statement|lock|idle)'
                            """
                        ).map { try $0.decode(0, as: String.self) }
                    }
                    #expect(limits == ["0", "0", "0", "0"])
                }
            }
        }
    }

    /// The rows of the log and of the read models, ordered by bytes, without the columns that
    /// differ from run to run.
    private static func content(of ledger: TestLedger) async throws -> [String] {
        try await fill(ledger)
        try await appendBySQL(ledger)
        let definitions = try ProjectionDefinition.all()
        try await ledger.projecting(definitions) {
            for definition in definitions { try await ledger.caughtUp(definition.name) }
        }
        for definition in definitions { #expect(try await ledger.verify(definition).isEqual, "\(definition.name)") }
        let connection = try await ledger.connect()
        var rows: [String] = []
        for (table, left) in [
            ("events", "recorded_at,event_id"), ("batch_jobs", ""), ("batch_job_runs", "id"), ("daily_job_stats", ""),
            // The words to search for depend on the language of the database.
            ("audit_log", "recorded_at,event_id,words"),
        ] {
            rows += try await connection.query(
                """
                SELECT (to_jsonb(t) - string_to_array($1, ','))::text COLLATE "C" AS line FROM \(table) AS t
                 ORDER BY line
                """, left
            ).map { "\(table) \(try $0.decode(0, as: String.self))" }
        }
        await connection.close()
        return rows
    }

    /// Appends texts that languages sort and case-fold differently, times, backslashes and unusual
    /// numbers.
    private static func fill(_ ledger: TestLedger) async throws {
        let names = ["I", "ı", "i", "İ", "ä", "a\u{308}", "Z", "a10", "a9", "a-b", "ab", #"\x41"#, "ß", "ss", "日本"]
        for (number, name) in names.enumerated() {
            let quoted = name.replacing("\\", with: "\\\\")
            let run = #"{"run_index":1,"variables":{"\#(quoted)":1.50},"metrics":{"sharpe":1e-7,"\u00e4":0.1}}"#
            for (type, data) in [
                ("queued", #"{"name":"\#(quoted)","total":10,"kind":"local"}"#),
                ("progress", #"{"completed":3,"runs":[\#(run)]}"#),
                number % 2 == 0
                    ? ("finished", #"{"results":{"summary":{"best":1e300}}}"#) : ("failed", #"{"error":"\\x41"}"#),
            ] {
                let event = NewEvent(
                    type: type, data: data, metadata: #"{"actor":"ada \\ \#(quoted)"}"#,
                    occurredAt: Timestamp(microseconds: Int64(number) * 86_399_999_999))
                _ = try await ledger.store.append(event, to: name, timeout: .seconds(60))
            }
        }
    }

    /// Appends as an SQL caller whose session has the settings of the database, and none of ours.
    private static func appendBySQL(_ ledger: TestLedger) async throws {
        let stranger = try await PostgresConnection.connect(
            PostgresConfiguration(url: ledger.url), timeout: .seconds(60))
        func append(_ arguments: String) async throws {
            try await stranger.execute(
                script:
                    "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT \"\(ledger.name)\".append_event(\(arguments)); COMMIT"
            )
        }
        try await append(
            #"'by SQL', 'queued', '{"name":"n"}', '{"actor":"a"}', occurred_at => '2026-02-03 04:05:06+00'"#)
        try await append(#"'by SQL', 'progress', '{"completed":1}', occurred_at => '0001-01-01 00:00:00+00'"#)
        for refused in [
            #"E'a\x1fb', 'queued', '{"name":"n"}'"#,
            #"'b', 'queued', '{"name":"n"}', occurred_at => '10000-01-01 00:00:00+00'"#,
        ] {
            let error = await #expect(throws: PostgresError.self) { try await append(refused) }
            #expect(error?.sqlState == SQLState("JL006"), "\(refused): \(String(describing: error))")
            try await stranger.execute(script: "ROLLBACK")
        }
        await stranger.close()
    }
}
