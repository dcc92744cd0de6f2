import BlockingIO
import EventStore
import Feed
import LedgerCore
import Postgres

/// The sessions of browsers, as the service reads, opens and ends them. Each needs a secret, and
/// the service's roles can do nothing else to them.
struct SessionStore: Sendable {
    private let reading: PostgresPool
    private let writing: PostgresPool

    /// How long opening or ending a session may take. A commit may wait for standbys.
    private static let limit = Duration.seconds(10)

    /// - Parameter writing: connections that nothing else needs: anybody can send made-up codes.
    init(reading: EventStore, writing: EventStore) {
        (self.reading, self.writing) = (reading.pool, writing.pool)
    }

    /// The session with this secret; `nil` if there is none, it has ended, or its token was
    /// revoked.
    func session(_ secret: SessionSecret) async throws -> BrowserSession? {
        try await reading.withConnection {
            try await Self.session(
                "SELECT * FROM session_of(decode($1, 'hex'))", [secret.key.hexadecimal], isPrepared: true, on: $0)
        }
    }

    /// Opens a session for who has a token; `nil` if the token is not valid or may not read.
    func open(_ secret: SessionSecret, by token: AccessToken) async throws -> BrowserSession? {
        try await write(
            "SELECT * FROM open_session($1, decode($2, 'hex'), decode($3, 'hex'))",
            [token.id, token.hexHash, secret.key.hexadecimal])
    }

    /// Opens a session for who has a code, and uses the code up; `nil` if it was used before, is
    /// too old, or was never made.
    func open(_ secret: SessionSecret, with code: SessionSecret) async throws -> BrowserSession? {
        try await write(
            "SELECT * FROM redeem_sign_in_code(decode($1, 'hex'), decode($2, 'hex'))",
            [code.key.hexadecimal, secret.key.hexadecimal])
    }

    /// Ends a session, if there is one.
    func end(_ secret: SessionSecret) async throws {
        try await limited {
            try await writing.withConnection { connection in
                _ = try await connection.query("SELECT end_session(decode($1, 'hex'))", secret.key.hexadecimal)
            }
        }
    }

    /// What a token is called; `nil` if it has no name.
    func name(of token: TokenID) async throws -> String? {
        try await reading.withConnection {
            try await $0.query("SELECT token_name($1)", token).only().decode(0)
        }
    }

    /// Tells the ledger from others of its name: the first digits of its first epoch, which stays
    /// through all that begin others. The epochs of a log that was imported do not count.
    func idOfLedger() async throws -> String {
        try await retryingPostgres {
            try await reading.withConnection { try await $0.query(Self.firstEpoch).first?.decode(0) ?? "" }
        }
    }

    private static let firstEpoch = """
        SELECT left(epoch::text, 8) FROM epochs WHERE NOT of_source ORDER BY number LIMIT 1
        """

    private func write(_ statement: String, _ parameters: [any PostgresEncodable]) async throws -> BrowserSession? {
        try await limited {
            try await writing.withConnection { try await Self.session(statement, parameters, on: $0) }
        }
    }

    private func limited<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let slow = Problem.unavailable("the ledger's database did not answer within \(Self.limit); try again")
        return try await withTimeLimit(Self.limit, orThrow: slow, body)
    }

    private static func session(
        _ statement: String, _ parameters: [any PostgresEncodable], isPrepared: Bool = false,
        on connection: PostgresConnection
    ) async throws -> BrowserSession? {
        try await connection.query(PostgresStatement(statement, parameters, isPrepared: isPrepared)).first.map { row in
            BrowserSession(
                token: try row.decode("token_id"), name: try row.decode("token_name"),
                scopes: Set(try row.decode("token_scopes", as: [String].self).compactMap(Scope.init(rawValue:))),
                expiresAt: Timestamp(try row.decode("ends_at", as: PostgresTimestamp.self)))
        }
    }
}
