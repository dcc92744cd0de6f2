extension PostgresConnection {
    private static let tableExists = "SELECT to_regclass(format('%I.%I', $1, $2)) IS NOT NULL"

    /// Whether there is a table of this name, or a view, an index or another relation, which share
    /// their names with tables.
    package nonisolated func hasTable(_ name: String, in schema: String) async throws -> Bool {
        try await query(Self.tableExists, schema, name).only().decode(0)
    }
}
