import Postgres

/// What Postgres knows about the names in a definition's statements.
struct SQLCatalog: Sendable {
    struct Routine: Sendable {
        let name: String
        /// Whether it is part of Postgres.
        let isBuiltIn: Bool
        /// What Postgres promises about its results: `i` immutable, `s` stable, `v` volatile.
        let volatility: String
        /// Whether its body is in a language in which it may do anything.
        let isOpaque: Bool
    }

    struct SQLType: Sendable {
        let name: String
        /// `D` dates and times, `T` intervals, …
        let category: String
        let isFloat: Bool

        /// Whether its text depends on settings or on the clock.
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
        /// The columns of each unique index without nullable columns: no two rows are equal in all
        /// of them.
        var keys: [Set<Int>] = []
        /// The type of the table's rows.
        var rowType = 0
    }

    private(set) var routines: [Int: Routine] = [:]
    private(set) var types: [Int: SQLType] = [:]
    /// The view `new_events`.
    let events: Int
    /// That view and the projection's own tables.
    private(set) var tables: [Int: Table] = [:]
    /// The names of all other relations, for messages.
    private(set) var otherRelations: [Int: String] = [:]

    /// - Parameter schema: the schema of the projection's tables.
    init(ofTablesIn schema: String, on connection: PostgresConnection) async throws {
        events = try await connection.query("SELECT 'new_events'::regclass::oid::bigint").only().decode(0)
        try await readRoutines(on: connection)
        try await readTypes(on: connection)
        try await readRelations(in: schema, on: connection)
        try await readColumns(on: connection)
        try await readKeys(on: connection)
    }

    private mutating func readRoutines(on connection: PostgresConnection) async throws {
        for row in try await connection.query(Self.allRoutines) {
            routines[try row.decode("oid")] = Routine(
                name: try row.decode("name"), isBuiltIn: try row.decode("is_built_in"),
                volatility: try row.decode("volatility"), isOpaque: try row.decode("is_opaque"))
        }
    }

    private static let allRoutines = """
        SELECT pg_proc.oid::bigint AS oid, proname::text AS name,
               pronamespace = 'pg_catalog'::regnamespace AS is_built_in,
               provolatile::text AS volatility, lanname NOT IN ('internal', 'c') AS is_opaque
          FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
        """

    private mutating func readTypes(on connection: PostgresConnection) async throws {
        for row in try await connection.query(Self.allTypes) {
            let name: String = try row.decode("name")
            types[try row.decode("oid")] = SQLType(
                name: name, category: try row.decode("category"), isFloat: ["float4", "float8"].contains(name))
        }
    }

    private static let allTypes =
        "SELECT oid::bigint AS oid, typname::text AS name, typcategory::text AS category FROM pg_type"

    private mutating func readRelations(in schema: String, on connection: PostgresConnection) async throws {
        for row in try await connection.query(Self.allRelations, "\"\(schema)\"") {
            let oid: Int = try row.decode("oid")
            let name: String = try row.decode("name")
            if try row.decode("is_known") {
                tables[oid] = Table(name: name, rowType: try row.decode("row_type"))
            } else {
                otherRelations[oid] = name
            }
        }
    }

    private static let allRelations = """
        SELECT pg_class.oid::bigint AS oid, relname::text AS name, reltype::bigint AS row_type,
               pg_class.oid = 'new_events'::regclass
                 OR relnamespace = $1::regnamespace AND relkind IN ('r', 'p') AS is_known
          FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        """

    private mutating func readColumns(on connection: PostgresConnection) async throws {
        for row in try await connection.query(Self.columns, tables.keys.map { Int64($0) }) {
            let oid: Int = try row.decode("oid")
            let number = try row.decode("attnum", as: Int.self)
            tables[oid]?.columns[number] = Column(
                name: try row.decode("name"), type: try row.decode("type"), preset: try row.decode("preset"),
                isIdentity: try row.decode("is_identity"))
        }
    }

    private static let columns = """
        SELECT attrelid::bigint AS oid, attnum, attname::text AS name, atttypid::bigint AS type,
               attidentity <> '' AS is_identity,
               CASE WHEN attgenerated = '' THEN pg_attrdef.adbin::text END AS preset
          FROM pg_attribute
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE attrelid = ANY ($1::bigint[]::oid[]) AND attnum > 0 AND NOT attisdropped
        """

    private mutating func readKeys(on connection: PostgresConnection) async throws {
        for row in try await connection.query(Self.keys, tables.keys.map { Int64($0) }) {
            let columns: [Int64] = try row.decode("columns")
            tables[try row.decode("oid", as: Int.self)]?.keys.append(Set(columns.map(Int.init)))
        }
    }

    private static let keys = """
        SELECT indrelid::bigint AS oid, array_agg(attnum::bigint) AS columns
          FROM pg_index
          JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY ((indkey::smallint[])[0:indnkeyatts - 1])
         WHERE indrelid = ANY ($1::bigint[]::oid[]) AND indisunique AND indpred IS NULL AND indexprs IS NULL
         GROUP BY indrelid, indexrelid
        HAVING bool_and(attnotnull)
        """
}
