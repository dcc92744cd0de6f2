import LedgerTesting
import Postgres
import Testing

extension TestLedger {
    /// A session of a new user with one role of the ledger, as a service has.
    func session(as role: String, user name: String = "eve") async throws -> PostgresConnection {
        let connection = try await connect()
        let user = "\(self.name)_\(role)_\(name)"
        let group = "\(self.name)_\(role)"
        try await connection.execute(
            script: """
                CREATE ROLE "\(user)" IN ROLE "\(group)"; SET SESSION AUTHORIZATION "\(user)"
                \(role == "projector" ? "; SET ROLE \"\(group)\"" : "")
                """)
        return connection
    }
}

extension PostgresConnection {
    nonisolated func sessionUser() async throws -> String {
        try await query("SELECT session_user::text").only().decode(0)
    }

    /// Expects that the session lacks the rights for a statement.
    nonisolated func expectRefusal(of sql: String) async throws {
        let error = await #expect(throws: PostgresError.self, "\(sql)") { try await query(PostgresStatement(sql)) }
        #expect(error?.sqlState == .insufficientPrivilege, "\(sql): \(String(describing: error))")
    }
}
