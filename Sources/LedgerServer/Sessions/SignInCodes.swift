import Crypto
package import EventStore
package import LedgerCore
import Postgres

/// Codes that sign one browser in, once. The ledger's owner makes them.
package struct SignInCodes: Sendable {
    /// A code as its maker knows it.
    package struct Code: Sendable {
        package let secret: SessionSecret
        /// The token whose scopes the session will have. Revoking it ends the session.
        package let token: TokenID
        package let expiresAt: Timestamp

        /// The address that signs a browser in.
        /// - Parameter service: the address of the service, without a path.
        package func address(at service: String) -> String { "\(service)/sign-in?code=\(secret.text)" }
    }

    /// What the token is called that codes belong to unless another is named.
    package static let tokenName = "dashboard"

    private let pool: PostgresPool

    package init(_ store: EventStore) { pool = store.pool }

    /// Makes a code.
    /// - Parameter token: the session's token, which may read; by default one named ``tokenName``
    ///   with this scope alone, which is made if there is none. Nobody knows its secret, so it is
    ///   good for sessions only.
    package func make(of token: TokenID? = nil) async throws -> Code {
        let secret = SessionSecret.random()
        return try await pool.withConnection { connection in
            try await connection.transaction { connection in
                let token = if let token { token } else { try await Self.ownToken(on: connection) }
                let row = try await connection.query(Self.insertion, secret.key.hexadecimal, token).only()
                return Code(
                    secret: secret, token: token,
                    expiresAt: Timestamp(try row.decode(0, as: PostgresTimestamp.self)))
            }
        }
    }

    private static func ownToken(on connection: PostgresConnection) async throws -> TokenID {
        // Two that come at once make one token.
        try await connection.execute(script: "LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE")
        if let row = try await connection.query(Self.search, tokenName).first { return try row.decode(0) }
        let token = AccessToken.random()
        _ = try await connection.query(
            "INSERT INTO tokens (id, hash, name, scopes) VALUES ($1, decode($2, 'hex'), $3, '{read}')",
            token.id, token.hexHash, tokenName)
        return token.id
    }

    private static let search = """
        SELECT id FROM tokens WHERE name = $1 AND scopes = '{read}' AND revoked_at IS NULL
         ORDER BY created_at, id LIMIT 1
        """

    /// The database sets the times, and refuses a token that does not work or may not read.
    private static let insertion = """
        INSERT INTO sign_in_codes (hash, token) VALUES (sha256(decode($1, 'hex')), $2)
        RETURNING expires_at
        """
}
