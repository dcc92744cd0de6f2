package import Postgres

/// Two small categories: `user`, with an email that must be unique, and `strategy`, which names a
/// user.
package enum TestCategories {
    package static let user = """
        {"name": "user",
         "life": {"": ["registered"], "registered": ["updated", "removed"], "updated": ["updated", "removed"],
                  "removed": []},
         "removes": ["removed"],
         "unique": [{"key": "email", "ignoring_case": true}, {"key": "discord_id"}]}
        """
    package static let strategy = """
        {"name": "strategy",
         "life": {"": ["saved"], "saved": ["revised", "removed"], "revised": ["revised", "removed"], "removed": []},
         "removes": ["removed"],
         "references": [{"key": "user_id", "category": "user"}]}
        """
    package static let userCheck = """
        BEGIN
          IF jsonb_typeof(data -> 'email') NOT IN ('string', 'null') THEN
            RETURN '"email" must be a text';
          END IF;
          RETURN null;
        END
        """

    package static func install(on connection: PostgresConnection) async throws {
        try await install(user, "1", userCheck, on: connection)
        try await install(strategy, "1", "BEGIN RETURN null; END", on: connection)
    }

    @discardableResult
    package static func install(
        _ definition: String, _ hash: String, _ check: String, on connection: PostgresConnection
    ) async throws -> Bool {
        try await connection.query(
            "SELECT install_category($1::json, $2, $3)", definition, hash, check
        ).only().decode(0)
    }

    /// Appends one event by `append_event`.
    /// - Returns: its position, or the code of its refusal.
    package static func append(
        _ category: String, _ stream: String, _ type: String, _ data: String = "{}", on connection: PostgresConnection
    ) async throws -> String {
        do {
            let position: Int64 = try await connection.query(
                "SELECT position FROM append_event($1, $2, $3::json, category => $4)", stream, type, data, category
            ).only().decode(0)
            return "\(position)"
        } catch let error as PostgresError where error.sqlState?.category == "JL" {
            return error.sqlState!.code
        }
    }
}
