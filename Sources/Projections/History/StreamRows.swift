import LedgerCore
import Postgres

/// How the rows of streams are selected from a table: the SQL of a ``StreamTable`` in one schema.
///
/// Rows are shown with the columns in the table's order, and timestamps without a zone as UTC.
struct StreamRows: Sendable {
    /// The table, quoted and with its schema.
    let table: String
    /// All columns as rows show them, of a table or subquery with the alias `shown`.
    let columns: String
    /// The condition that `shown` is the row of a stream, for the SQL expression of its id.
    private let isOf: String
    private static let placeholder = "$stream"

    /// A condition that `shown` is the row of the stream whose id the SQL expression `id` gives.
    func condition(_ id: String) -> String { isOf.replacing(Self.placeholder, with: id) }

    /// Selects the row of the stream $1 as a JSON object.
    var row: String {
        """
        SELECT row_to_json(stream)::text
          FROM (SELECT \(columns) FROM \(table) AS shown WHERE \(condition("$1"))) AS stream
        """
    }

    /// - Parameter schema: where the projection's tables are.
    static func of(
        _ shown: StreamTable, of category: Category, in schema: String, on connection: PostgresConnection
    ) async throws -> StreamRows {
        let shape = try await TableShape.of(shown.table, in: schema, on: connection)
        let isOf: String
        if let by = shown.by {
            let keys = shape.key.map { "shown.\($0.name) = of_stream.\($0.name)" }.joined(separator: " AND ")
            isOf = """
                EXISTS (SELECT FROM "\(schema)"."\(by)" AS of_stream
                         WHERE category = '\(category)' AND stream_id = \(placeholder) AND \(keys))
                """
        } else if shape.key.count == 1, shape.key[0].isText {
            isOf = "shown.\(shape.key[0].name) = \(placeholder)"
        } else {
            throw NoStreamKey(table: shown.table)
        }
        let columns = try await connection.query(shownColumns, shape.qualified).map {
            try $0.decode(0, as: String.self)
        }
        return StreamRows(table: shape.qualified, columns: columns.joined(separator: ", "), isOf: isOf)
    }

    private static let shownColumns = """
        SELECT CASE atttypid
                 WHEN 'timestamp'::regtype THEN format('shown.%1$I AT TIME ZONE ''UTC'' AS %1$I', attname)
                 ELSE format('shown.%I', attname)
               END
          FROM pg_attribute
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
         ORDER BY attnum
        """

    /// The key of the table is not a stream's id.
    struct NoStreamKey: Error, CustomStringConvertible {
        let table: String
        var description: String {
            """
            the key of \(table) is not one column of text, so it is not the id of a stream: name a table with the \
            columns category, stream_id and that key in projection.json, as "rows": {"CATEGORY": {"table": \
            "\(table)", "by": "TABLE"}}
            """
        }
    }
}
