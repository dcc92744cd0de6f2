import Postgres

/// A row in which two tables of the same shape differ.
package struct RowDifference: Sendable, Equatable {
    package let table: String
    /// The primary key, as a JSON object.
    package let key: String
    /// The whole row on either side as a JSON object; `nil` where it is missing.
    package let live: String?
    package let expected: String?
    /// The columns that differ; empty where a row is missing.
    package let columns: [String]

    /// The first `limit` rows, by key, in which `live` and `expected` differ: both qualified and
    /// quoted.
    static func between(
        live: TableShape, expected: TableShape, table: String, limit: Int, on connection: PostgresConnection
    ) async throws -> [RowDifference] {
        let keys = live.key.map(\.name.description).joined(separator: ", ")
        let key = live.key.map { "\($0.name.literal), \($0.name)" }.joined(separator: ", ")
        let rows = try await connection.query(
            """
            SELECT json_build_object(\(key))::text AS key, live_row::text AS live, expected_row::text AS expected,
                   ARRAY(SELECT name FROM jsonb_object_keys(live_row) AS name
                          WHERE live_row -> name IS DISTINCT FROM expected_row -> name AND expected_row IS NOT NULL
                          ORDER BY name) AS columns
              FROM (SELECT \(keys), to_jsonb(live) AS live_row FROM \(live.qualified) AS live) AS a
              FULL JOIN (SELECT \(keys), to_jsonb(expected) AS expected_row FROM \(expected.qualified) AS expected) AS b
                USING (\(keys))
             WHERE live_row IS DISTINCT FROM expected_row
             ORDER BY \(keys)
             LIMIT \(limit)
            """)
        return try rows.map { row in
            RowDifference(
                table: table, key: try row.decode("key"), live: try row.decode("live"),
                expected: try row.decode("expected"),
                columns: try row.decode("columns"))
        }
    }
}
