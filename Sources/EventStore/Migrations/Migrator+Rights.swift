import LedgerCore
import Postgres

/// A ledger that was restored on another server has lost its roles and their rights. The ledger
/// remembers these rights in the table `rights`.
extension Migrator {
    /// Restores the missing rights, and returns them. It does so only if the remembered rights
    /// belong to the applied migrations: dbmate does not record rights, and a right that a
    /// migration revoked must not come back.
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
                    the rights of the ledger's roles are incomplete, and could not be restored: \(error)
                      Run it as a superuser.
                    """)
        }
    }

    /// Rights of a ledger that dbmate migrated cannot be restored, so its roles must exist already.
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

    /// Records the rights. Call it in the transaction that changes them.
    func rememberRights(on connection: PostgresConnection) async throws {
        guard try await has("remember_rights(text)", on: connection) else { return }
        try await connection.query(
            "SELECT remember_rights((SELECT pg_catalog.max(version)::text FROM schema_migrations))")
    }

    private func has(_ function: String, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query("SELECT to_regprocedure($1) IS NOT NULL", function).only().decode(0)
    }
}
