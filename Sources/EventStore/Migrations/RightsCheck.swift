package import Postgres

/// The ledger's roles lack rights that they had when it was migrated, as after a dump and a restore
/// on another server.
package struct RightsMissing: Error, Sendable, CustomStringConvertible {
    package let missing: [String]

    package var description: String {
        let named = missing.prefix(20).map { "\n  \($0)" }.joined()
        let more = missing.count > 20 ? "\n  and \(missing.count - 20) more" : ""
        return """
            the ledger's roles lack rights, as after a restore on another server:\(named)\(more)
            jobledger migrate restores them; run it as a superuser, or as the user who restored the database and may \
            create roles
            """
    }

    /// Checks that no right is missing. Programs call it before they work with a ledger.
    /// - Throws: ``RightsMissing``, or the server's error.
    package static func check(on connection: PostgresConnection) async throws {
        let missing = try await connection.query("SELECT missing_rights()").map { try $0.decode(0, as: String.self) }
        guard missing.isEmpty else { throw RightsMissing(missing: missing) }
    }
}
