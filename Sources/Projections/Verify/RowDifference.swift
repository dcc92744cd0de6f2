import Postgres

/// A row that differs between two tables of the same shape.
package struct RowDifference: Sendable, Equatable {
    package let table: String
    /// The primary key, as a JSON object.
    package let key: String
    /// The whole row on each side, as a JSON object; `nil` if it is missing there.
    package let live: String?
    package let expected: String?
    /// The columns that differ; empty if a row is missing.
    package let columns: [String]

    /// The first `limit` differing rows of two tables, in the order of their key.
    /// - Parameter table: the table's name in the result.
    static func between(
        live: TableShape, expected: TableShape, table: String, limit: Int, on connection: PostgresConnection
    ) async throws -> [RowDifference] {
        try await connection.query(comparison(of: live, with: expected), limit).map { row in
            RowDifference(
                table: table, key: try row.decode("key"), live: try row.decode("live"),
                expected: try row.decode("expected"), columns: try row.decode("columns"))
        }
    }

    private static func comparison(of live: TableShape, with expected: TableShape) -> String {
        let keys = live.key.map(\.name.description).joined(separator: ", ")
        let key = live.key.map { "\($0.name.literal), \($0.name)" }.joined(separator: ", ")
        return """
            SELECT json_build_object(\(key))::text AS key, live_row::text AS live, expected_row::text AS expected,
                   ARRAY(SELECT name FROM jsonb_object_keys(live_row) AS name
                          WHERE live_row -> name IS DISTINCT FROM expected_row -> name AND expected_row IS NOT NULL
                          ORDER BY name) AS columns
              FROM (SELECT \(keys), to_jsonb(live) AS live_row FROM \(live.qualified) AS live) AS a
              FULL JOIN (SELECT \(keys), to_jsonb(expected) AS expected_row FROM \(expected.qualified) AS expected) AS b
                USING (\(keys))
             WHERE live_row IS DISTINCT FROM expected_row
             ORDER BY \(keys)
             LIMIT $1
            """
    }
}
