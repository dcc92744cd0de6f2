import LedgerCore
import Postgres

/// A ledger that was restored on another server has lost its roles, and all that was theirs; it
/// remembers what that was. See `rights`.
extension Migrator {
    /// Gives back what is missing, and says what it was. Only where what is remembered is of these
    /// very migrations: dbmate remembers nothing, and what a file took away is not to come back.
    func mendRights(of applied: Set<ExactText>, on connection: PostgresConnection) async throws -> [String] {
        guard try await has("mend_rights()", on: connection) else { return [] }
        do {
            return try await connection.transaction { connection in
                let version: ExactText? = try await connection.query("SELECT what FROM rights WHERE object = 'VERSION'")
                    .first?
                    .decode(0)
                guard version == applied.max() else {
                    try await requireOwner(on: connection)
                    try await rememberRights(on: connection)
                    return []
                }
                return try await connection.query("SELECT mend_rights()").map { try $0.decode(0) }
            }
        } catch let error as PostgresError where error.kind == .server {
            throw Failure(
                description: """
                    the rights of the ledger's roles are not complete, and could not be mended: \(error)
                      Run it as a superuser.
                    """)
        }
    }

    /// Nothing is given back to a ledger that dbmate made: then its roles must have come along.
    private func requireOwner(on connection: PostgresConnection) async throws {
        let isThere: Bool = try await connection.query(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1 || '_owner')", ledger.text
        ).only().decode(0)
        guard isThere else {
            throw Failure(
                description: """
                    the ledger's roles are missing, as after a restore on another server, and what \
                    they may do is not remembered, because the migrations were run by another \
                    program. Take them over with pg_dumpall --roles-only, and restore the ledger again
                    """)
        }
    }

    /// In the transaction that changes them.
    func rememberRights(on connection: PostgresConnection) async throws {
        guard try await has("remember_rights(text)", on: connection) else { return }
        try await connection.query(
            "SELECT remember_rights((SELECT pg_catalog.max(version)::text FROM schema_migrations))")
    }

    private func has(_ function: String, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query("SELECT to_regprocedure($1) IS NOT NULL", function).only().decode(0)
    }
}
