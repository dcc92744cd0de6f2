import Postgres

/// What Postgres knows of the names in a definition's statements.
struct SQLCatalog: Sendable {
    struct Routine: Sendable {
        let name: String
        /// Of Postgres itself.
        let isBuiltIn: Bool
        /// `i` immutable, `s` stable, `v` volatile: what Postgres promises of its results.
        let volatility: String
        /// Its body is in a language in which it may do anything.
        let isOpaque: Bool
    }

    struct SQLType: Sendable {
        let name: String
        /// `D` dates and times, `T` intervals, …
        let category: String
        let isFloat: Bool

        /// Whether its text says something else under other settings, or as time goes by.
        var hasTextOfSettings: Bool { category == "D" || category == "T" || name == "money" || name.hasPrefix("reg") }
    }

    struct Column: Sendable {
        let name: String
        let type: Int
        /// The tree of its default's expression.
        let preset: String?
        let isIdentity: Bool
    }

    struct Table: Sendable {
        let name: String
        /// By number.
        var columns: [Int: Column] = [:]
        /// The columns of each unique index, where none of them may be null: no two rows are equal
        /// in all of them.
        var keys: [Set<Int>] = []
        /// The row's own type.
        var rowType = 0
    }

    var routines: [Int: Routine] = [:]
    var types: [Int: SQLType] = [:]
    /// The view `new_events`.
    let events: Int
    /// That view's columns by number, and the projection's own tables.
    private(set) var tables: [Int: Table] = [:]
    /// The names of all others, for telling which one was meant.
    private(set) var otherRelations: [Int: String] = [:]

    /// - Parameter schema: where the projection's tables are.
    init(ofTablesIn schema: String, on connection: PostgresConnection) async throws {
        events = try await connection.query("SELECT 'new_events'::regclass::oid::bigint").only().decode(0)
        for row in try await connection.query(
            """
            SELECT pg_proc.oid::bigint AS oid, proname::text AS name, pronamespace = 'pg_catalog'::regnamespace AS is_built_in,
                   provolatile::text AS volatility, lanname NOT IN ('internal', 'c') AS is_opaque
              FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
            """)
        {
            routines[try row.decode("oid")] = Routine(
                name: try row.decode("name"), isBuiltIn: try row.decode("is_built_in"),
                volatility: try row.decode("volatility"),
                isOpaque: try row.decode("is_opaque"))
        }
        for row in try await connection.query(
            "SELECT oid::bigint AS oid, typname::text AS name, typcategory::text AS category FROM pg_type")
        {
            let name: String = try row.decode("name")
            types[try row.decode("oid")] = SQLType(
                name: name, category: try row.decode("category"), isFloat: ["float4", "float8"].contains(name))
        }
        for row in try await connection.query(
            """
            SELECT pg_class.oid::bigint AS oid, relname::text AS name, reltype::bigint AS row_type,
                   pg_class.oid = 'new_events'::regclass OR relnamespace = $1::regnamespace AND relkind IN ('r', 'p') AS is_known
              FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            """, "\"\(schema)\"")
        {
            let oid: Int = try row.decode("oid")
            let name: String = try row.decode("name")
            if try row.decode("is_known") {
                tables[oid] = Table(name: name, rowType: try row.decode("row_type"))
            } else {
                otherRelations[oid] = name
            }
        }
        for row in try await connection.query(
            """
            SELECT attrelid::bigint AS oid, attnum, attname::text AS name, atttypid::bigint AS type, attidentity <> '' AS is_identity,
                   CASE WHEN attgenerated = '' THEN pg_attrdef.adbin::text END AS preset
              FROM pg_attribute
              LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
             WHERE attrelid = ANY ($1::bigint[]::oid[]) AND attnum > 0 AND NOT attisdropped
            """, tables.keys.map { Int64($0) })
        {
            let oid: Int = try row.decode("oid")
            let number = try row.decode("attnum", as: Int.self)
            tables[oid]?.columns[number] = Column(
                name: try row.decode("name"), type: try row.decode("type"), preset: try row.decode("preset"),
                isIdentity: try row.decode("is_identity"))
        }
        for row in try await connection.query(
            """
            SELECT indrelid::bigint AS oid, array_agg(attnum::bigint) AS columns
              FROM pg_index
              JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY ((indkey::smallint[])[0:indnkeyatts - 1])
             WHERE indrelid = ANY ($1::bigint[]::oid[]) AND indisunique AND indpred IS NULL AND indexprs IS NULL
             GROUP BY indrelid, indexrelid
            HAVING bool_and(attnotnull)
            """, tables.keys.map { Int64($0) })
        {
            let columns: [Int64] = try row.decode("columns")
            tables[try row.decode("oid", as: Int.self)]?.keys.append(Set(columns.map(Int.init)))
        }
    }

    /// The number of a table's column.
    func number(of column: String, in table: Int) -> Int? {
        tables[table]?.columns.first { $0.value.name == column }?.key
    }
}
