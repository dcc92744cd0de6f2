import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

/// What the database keeps of sessions, for every way in.
@Suite struct SessionRowsTests {
    private func open(_ ledger: TestLedger, _ token: AccessToken) async throws -> SessionSecret {
        let secret = SessionSecret.random()
        let store = SessionStore(reading: ledger.store, writing: ledger.store)
        #expect(try await store.open(secret, by: token)?.token == token.id)
        return secret
    }

    @Test func noSecretIsStored() async throws {
        try await TestLedger.with { ledger in
            let token = try await TokenStore(ledger.store).create([.read])
            let secret = try await open(ledger, token)
            let code = try await SignInCodes(ledger.store).make()
            let connection = try await ledger.connect()
            let text: String = try await connection.query(
                """
                SELECT concat((SELECT string_agg(s::text, ',') FROM sessions AS s),
                              (SELECT string_agg(c::text, ',') FROM sign_in_codes AS c))
                """
            ).only().decode(0)
            #expect(text.contains(token.id.text))
            for secret in [secret, code.secret] {
                // Nor is the key, by which the functions know it.
                #expect(!text.contains(secret.text) && !text.contains(secret.key.hexadecimal))
                var dumped = ""
                dump(secret, to: &dumped)
                #expect(!dumped.contains(secret.text) && !"\(secret)".contains(secret.text))
            }
            await connection.close()
        }
    }

    @Test func aTokenHasABoundedNumberOfSessionsAndTheOldestMakeRoom() async throws {
        try await TestLedger.with { ledger in
            let tokens = TokenStore(ledger.store)
            let (token, other) = (try await tokens.create([.read]), try await tokens.create([.read]))
            let store = SessionStore(reading: ledger.store, writing: ledger.store)
            let (first, others) = (try await open(ledger, token), try await open(ledger, other))
            var last = first
            for _ in 0..<100 { last = try await open(ledger, token) }
            let connection = try await ledger.connect()
            let counts = try await connection.query(
                "SELECT count(*) FILTER (WHERE token = $1), most_sessions()::bigint FROM sessions", token.id
            ).only()
            #expect(try counts.decode(0, as: Int64.self) == counts.decode(1, as: Int64.self))
            #expect(try await store.session(first) == nil)
            #expect(try await store.session(last)?.token == token.id)
            #expect(try await store.session(others)?.token == other.id)

            // What has expired is removed with the next session, of whatever token.
            try await connection.query(
                """
                UPDATE sessions SET created_at = created_at - longest_session(),
                       expires_at = expires_at - longest_session()
                """)
            #expect(try await store.session(last) == nil)
            _ = try await open(ledger, other)
            #expect(try await connection.query("SELECT FROM sessions").count == 1)
            await connection.close()
        }
    }

    @Test func theDatabaseRefusesWhatBreaksTheRules() async throws {
        try await TestLedger.with { ledger in
            let tokens = TokenStore(ledger.store)
            let (token, appends) = (try await tokens.create([.read]), try await tokens.create([.append]))
            _ = try await open(ledger, token)
            let store = SessionStore(reading: ledger.store, writing: ledger.store)
            #expect(try await store.open(.random(), by: appends) == nil)
            #expect(try await store.open(.random(), by: .random()) == nil)
            let connection = try await ledger.connect()
            for statement in [
                "INSERT INTO sessions (hash, token) VALUES (sha256('a'), '\(appends.id)')",
                "INSERT INTO sign_in_codes (hash, token) VALUES (sha256('a'), '\(appends.id)')",
                "INSERT INTO sessions (hash, token) VALUES (sha256('a'), '0123456789ab')",
                "INSERT INTO sessions (hash, token) VALUES ('a', '\(token.id)')",
                "UPDATE sessions SET expires_at = expires_at + interval '1 second'",
                "UPDATE sessions SET token = '\(appends.id)'", "UPDATE sessions SET hash = sha256('b')",
                "SELECT open_session('\(token.id)', '', 'short')",
            ] {
                await #expect(throws: PostgresError.self, "\(statement)") { try await connection.query(statement) }
            }
            // The times are the database's, whatever is given.
            let row = try await connection.query(
                """
                INSERT INTO sessions (hash, token, created_at, expires_at)
                VALUES (sha256('c'), $1, 'infinity', 'infinity')
                RETURNING expires_at = created_at + longest_session() AND created_at <= clock_timestamp()
                """, token.id
            ).only()
            #expect(try row.decode(0, as: Bool.self))
            // A session ends with its token for good.
            try await connection.query("UPDATE tokens SET revoked_at = clock_timestamp()")
            try await connection.query("UPDATE tokens SET revoked_at = null")
            #expect(try await connection.query("SELECT FROM sessions").isEmpty)
            await connection.close()
        }
    }

    @Test func rolesLearnNothingOfSessionsThatTheyDoNotHold() async throws {
        try await TestLedger.with { ledger in
            let token = try await TokenStore(ledger.store).create([.read])
            let secret = try await open(ledger, token)
            let connection = try await ledger.connect()
            func run(_ role: String, _ sql: String) async throws -> PostgresRows {
                try await connection.transaction { connection in
                    try await connection.execute(script: "SET LOCAL ROLE \"\(ledger.name)_\(role)\"")
                    return try await connection.query(sql)
                }
            }
            for role in ["appender", "reader", "subscriber", "relay", "projector", "sealer", "auditor"] {
                for sql in [
                    "SELECT * FROM sessions", "SELECT hash FROM sign_in_codes", "DELETE FROM sessions",
                    "INSERT INTO sign_in_codes (hash, token) VALUES (sha256('a'), '\(token.id)')",
                ] {
                    await #expect(throws: PostgresError.self, "\(role): \(sql)") { _ = try await run(role, sql) }
                }
            }
            let key = "decode('\(secret.key.hexadecimal)', 'hex')"
            #expect(try await run("reader", "SELECT * FROM session_of(\(key))").count == 1)
            #expect(try await run("reader", "SELECT * FROM session_of(sha256(\(key)))").isEmpty)
            // An auditor changes nothing.
            for role in ["reader", "auditor"] {
                await #expect(throws: PostgresError.self, "\(role)") {
                    _ = try await run(role, "SELECT end_session(\(key))")
                }
            }
            #expect(try await run("auditor", "SELECT token, created_at, expires_at FROM sessions").count == 1)
            #expect(try await run("appender", "SELECT end_session(\(key))").only().decode(0, as: Bool.self))
            await connection.close()
        }
    }

    /// Whatever comes first, a code that is used while its token is revoked leaves no session.
    @Test func revokingAndSigningInAtOnceLeavesNoSession() async throws {
        try await TestLedger.with { ledger in
            let tokens = TokenStore(ledger.store)
            let store = SessionStore(reading: ledger.store, writing: ledger.store)
            let connection = try await ledger.connect()
            for round in 1...20 {
                let token = try await tokens.create([.read])
                let code = try await SignInCodes(ledger.store).make(of: token.id)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { _ = try await store.open(.random(), with: code.secret) }
                    group.addTask { _ = try await store.open(.random(), by: token) }
                    group.addTask { _ = try await tokens.revoke(token.id) }
                    try await group.waitForAll()
                }
                let left = try await connection.query("SELECT FROM sessions WHERE token = $1", token.id).count
                #expect(left == 0, "round \(round)")
            }
            await connection.close()
        }
    }
}
