import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Projections

/// A definition's SQL cannot leave the transaction that runs it.
@Suite struct TransactionControlTests {
    private static let schema = "CREATE TABLE seen (id text PRIMARY KEY, count bigint NOT NULL);"
    private static let apply = "INSERT INTO seen SELECT stream_id, count(*) FROM new_events GROUP BY stream_id"

    private static func definition(_ schema: String, _ apply: String) throws -> ProjectionDefinition {
        try .counting("seen", apply: apply, schema: schema)
    }

    /// Each statement is refused when the definition is loaded, with its line, however it is
    /// disguised.
    @Test(arguments: [
        ("\nCOMMIT;", "COMMIT"), ("\n commit and chain", "COMMIT"), ("\nROLLBACK", "ROLLBACK"), ("\nEND", "END"),
        ("\nabort", "ABORT"), ("\nBEGIN; SELECT 1", "BEGIN"), ("\nSTART TRANSACTION", "START"),
        ("\nSavepoint a", "SAVEPOINT"),
        ("\nRELEASE before_it", "RELEASE"), ("\nROLLBACK TO before_it", "ROLLBACK"),
        ("\nPREPARE /* to */ TRANSACTION 'x'", "PREPARE TRANSACTION"), ("\n/* /* */ ; */ COMMIT", "COMMIT"),
        // The places where Postgres ends a string, a name or a comment.
        (#"SELECT E'\'';"# + "\nCOMMIT; --'", "COMMIT"), (#"SELECT e'a\\';"# + "\nCOMMIT; --'", "COMMIT"),
        (#"SELECT E'a'"# + "\n" + #"'\''; COMMIT; --'"#, "COMMIT"), (#"SELECT '\';"# + "\nCOMMIT; --'", "COMMIT"),
        ("SELECT 1 AS a$$;\nCOMMIT; SELECT 1 AS b$$", "COMMIT"), ("SELECT $a$ $$ $a$;\nCOMMIT; SELECT $$ $$", "COMMIT"),
        ("-- '\u{0D};\nCOMMIT --'", "COMMIT"), ("SELECT 1 --\u{0D}; COMMIT;\n", "COMMIT"),
        (#"SELECT "'";"# + "\nCOMMIT; --'", "COMMIT"),
    ])
    func refusesTransactionControl(_ text: String, _ word: String) throws {
        let lines = (Self.apply + ";" + text).split(separator: "\n", omittingEmptySubsequences: false)
        let line = 1 + (lines.firstIndex { $0.uppercased().contains(word.prefix(5)) } ?? 0)
        let ofApply = #expect(throws: ProjectionDefinition.FormatError.self) {
            try Self.definition(Self.schema, Self.apply + ";" + text)
        }
        #expect(ofApply?.description.contains("projection seen: apply.sql:\(line): \(word) ") == true, "\(ofApply!)")
        let ofSchema = #expect(throws: ProjectionDefinition.FormatError.self) {
            try Self.definition(Self.schema + ";" + text, Self.apply)
        }
        #expect(ofSchema?.description.contains("projection seen: schema.sql:\(line): \(word) ") == true, "\(ofSchema!)")
    }

    @Test(arguments: [
        "SELECT CASE WHEN true THEN 1 END", "SELECT 1 AS commit", "SELECT 1 -- ; COMMIT\n", "SELECT ';', '; COMMIT;'",
        #"SELECT E'\'; COMMIT; --'"#, "SELECT $$; COMMIT;$$, $x$; COMMIT; $$ $x$", "SELECT '\\'; SELECT '; COMMIT'",
        "/* ; COMMIT; /* */ ; COMMIT; */ SELECT 1", #"SELECT 1 AS "; COMMIT;""#, "PREPARE x AS SELECT 1",
        "DO $$BEGIN END$$",
    ])
    func acceptsTheWordsInsideOtherStatements(_ text: String) throws {
        _ = try Self.definition(Self.schema, Self.apply + ";\n" + text)
    }

    @Test func refusesANullByte() {
        let error = #expect(throws: ProjectionDefinition.FormatError.self) {
            try Self.definition(Self.schema, "SELECT 1;\n\u{0}SELECT 2")
        }
        #expect(error?.description.contains("apply.sql:2: a null byte") == true)
    }

    /// Code that a statement runs cannot end the transaction either, because Postgres refuses that.
    /// Nothing of it stays.
    @Test(arguments: [
        "DO $$BEGIN COMMIT; END$$", "DO $$BEGIN EXECUTE 'COMMIT'; END$$",
        "CREATE PROCEDURE ends() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$; CALL ends()",
    ])
    func codeInAStatementCannotEndTheTransaction(_ text: String) async throws {
        let url = try await TestServers.shared.postgresURL()
        let table = "pwned_\(UInt32.random(in: .min ... .max))"
        let caseText =
            #"{"about":"a","events":[{"job":"a","type":"queued","data":{"name":"x"}}],"expect":{"seen":[]}}"#
        let manifest = #"{"name":"seen","consumes":["queued"],"key":"stream_id","tables":["seen"]}"#
        let definition = try ProjectionDefinition(
            folder: "seen",
            files: [
                "projection.json": manifest, "schema.sql": Self.schema, "cases/a.json": caseText,
                "apply.sql": "CREATE TABLE public.\(table) (x int); \(text)",
            ])
        let outcomes = try await Cases([definition]).run(url: url)
        #expect(outcomes.count == 1 && outcomes[0].problems.count == 1, "\(outcomes)")
        let connection = try await PostgresConnection.connect(PostgresConfiguration(url: url), timeout: .seconds(30))
        #expect(try await connection.query("SELECT to_regclass($1) IS NULL", "public.\(table)").only().decode(0))
        await connection.close()
    }

    /// Postgres reads strings as the check of the text did, whatever `schema.sql` has set.
    @Test func aSettingDoesNotChangeHowTheNextTextIsRead() async throws {
        try await ScratchLedger.with(url: try await TestServers.shared.postgresURL()) { ledger in
            let definition = try Self.definition("SET standard_conforming_strings = off; " + Self.schema, Self.apply)
            try await Fold(definition, ledger: ledger.name, schema: ledger.name.text).createTables(
                on: ledger.connection)
            let setting: String = try await ledger.connection.query("SHOW standard_conforming_strings").only().decode(0)
            #expect(setting == "on")
        }
    }

    /// A busy machine may need long between two statements, and a fold may be long: an append's
    /// limits, which spare others the wait for the log, do not hold in a scratch ledger.
    @Test func anAppendDoesNotLimitTheFoldsAfterIt() async throws {
        try await ScratchLedger.with(url: try await TestServers.shared.postgresURL()) { ledger in
            try await ledger.append(#"{"events": [{"job": "a", "type": "queued", "data": {"name": "x"}}]}"#)
            #expect(try await ledger.head() == 1)
            for setting in ["idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"] {
                let value: String = try await ledger.connection.query("SHOW \(setting)").only().decode(0)
                #expect(value == "0", "\(setting)")
            }
        }
    }

    /// A scratch ledger is dropped with its roles and the schemas beside it, whatever ended the
    /// transaction.
    @Test(arguments: [true, false]) func aScratchLedgerIsAlwaysDropped(fails: Bool) async throws {
        let url = try await TestServers.shared.postgresURL()
        var name = ""
        do {
            name = try await ScratchLedger.with(url: url) { ledger in
                try await ledger.connection.execute(script: "CREATE SCHEMA \"\(ledger.schema("a"))\"; COMMIT")
                #expect(try await Self.leftovers(of: ledger.name.text, url) > 8)
                if fails { throw Left(name: ledger.name.text) }
                return ledger.name.text
            }
            #expect(!fails)
        } catch let left as Left {
            name = left.name
        }
        #expect(try await Self.leftovers(of: name, url) == 0)
    }

    private struct Left: Error { let name: String }

    /// How many schemas and roles of a scratch ledger are left.
    private static func leftovers(of name: String, _ url: String) async throws -> Int64 {
        let connection = try await PostgresConnection.connect(PostgresConfiguration(url: url), timeout: .seconds(30))
        let count: Int64 = try await connection.query(
            """
            SELECT (SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, $1))
                   + (SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1))
            """, name
        ).only().decode(0)
        await connection.close()
        return count
    }
}
