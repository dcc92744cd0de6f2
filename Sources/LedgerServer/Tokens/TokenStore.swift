package import EventStore
import LedgerCore
import Postgres

/// The ledger's tokens. The ledger's owner creates, lists and revokes them.
package struct TokenStore: Sendable {
    /// A token as the ledger knows it.
    package struct Entry: Sendable {
        package let id: TokenID
        package let name: String
        package let scopes: [String]
        package let createdAt: String
        package let revokedAt: String?
    }

    private let pool: PostgresPool

    package init(_ store: EventStore) { pool = store.pool }

    /// Creates a token. Its text cannot be retrieved later.
    package func create(_ scopes: Set<Scope>, name: String = "") async throws -> AccessToken {
        let token = AccessToken.random()
        let names = Scope.allCases.filter(scopes.contains).map(\.rawValue)
        _ = try await pool.withConnection { connection in
            try await connection.query(
                "INSERT INTO tokens (id, hash, name, scopes) VALUES ($1, decode($2, 'hex'), $3, $4)",
                token.id, token.hexHash, name, names)
        }
        return token
    }

    /// All tokens, oldest first.
    package func list() async throws -> [Entry] {
        try await pool.withConnection { connection in
            try await connection.query(
                "SELECT id, name, scopes, created_at, revoked_at FROM tokens ORDER BY created_at, id"
            ).map { row in
                Entry(
                    id: try row.decode("id"), name: try row.decode("name"), scopes: try row.decode("scopes"),
                    createdAt: Timestamp(try row.decode("created_at", as: PostgresTimestamp.self)).description,
                    revokedAt: try row.decode("revoked_at", as: PostgresTimestamp?.self).map {
                        Timestamp($0).description
                    })
            }
        }
    }

    /// Revokes a token, which stays in the list. Returns false if there is no valid token with this
    /// id.
    package func revoke(_ id: TokenID) async throws -> Bool {
        try await pool.withConnection { connection in
            try await connection.query(
                "UPDATE tokens SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL", id
            ).affected == 1
        }
    }

    /// The scopes of `token`; `nil` if it is not valid.
    package func scopes(of token: AccessToken) async throws -> Set<Scope>? {
        try await pool.withConnection { connection in
            try await connection.query(
                PostgresStatement(
                    "SELECT scopes_of_token($1, decode($2, 'hex'))", [token.id, token.hexHash], isPrepared: true)
            ).only().decode(0, as: [String]?.self).map { Set($0.compactMap(Scope.init(rawValue:))) }
        }
    }
}
