import Crypto
import Foundation
import LedgerCore
import Postgres

/// A digest of the content of a projection's tables.
struct TableDigest: Sendable, Equatable {
    let rows: Int
    /// SHA-256 in hexadecimal over the tables, in the definition's order. Each table counts as its
    /// name, a line feed, and its rows in the text format of `COPY`, ordered by primary key, texts
    /// byte by byte. Sessions fix every setting on which that text depends.
    let digest: String

    static func of(_ fold: Fold, on connection: PostgresConnection) async throws -> TableDigest {
        var hash = SHA256()
        var rows = 0
        for table in fold.definition.tables {
            hash.update(data: Array("\(table)\n".utf8))
            let shape = try await TableShape.of(table, in: fold.schema, on: connection)
            let columns = shape.columns.map(\.description).joined(separator: ", ")
            let order = shape.key.map { $0.name.description + ($0.isText ? #" COLLATE "C""# : "") }
                .joined(separator: ", ")
            // Memory holds one chunk, however large the table is.
            for try await chunk in connection.copyOut(
                "COPY (SELECT \(columns) FROM \(shape.qualified) ORDER BY \(order)) TO STDOUT")
            {
                hash.update(data: chunk)
                // COPY writes a line feed in a value as \n, so each byte 0x0A ends a row.
                rows += chunk.reduce(0) { $0 + ($1 == UInt8(ascii: "\n") ? 1 : 0) }
            }
        }
        return TableDigest(rows: rows, digest: hash.finalize().hexadecimal)
    }
}

/// The columns and the primary key of a table: what reading all of it in order takes.
struct TableShape: Sendable {
    /// The table's name with its schema, quoted.
    let qualified: String
    let columns: [Identifier]
    let key: [(name: Identifier, isText: Bool)]

    struct NoPrimaryKey: Error, CustomStringConvertible {
        let table: String
        var description: String {
            "table \(table) has no primary key: its rows have no order, so it can have no digest"
        }
    }

    static func of(_ table: String, in schema: String, on connection: PostgresConnection) async throws -> TableShape {
        let qualified = "\"\(schema)\".\"\(table)\""
        let columns = try await connection.query(columnsOfTable, qualified)
        let key = try columns.compactMap { row -> (place: Int, name: Identifier, isText: Bool)? in
            try row.decode("place_in_key", as: Int?.self).map {
                ($0, Identifier(try row.decode("name")), try row.decode("is_text"))
            }
        }
        guard !key.isEmpty else { throw NoPrimaryKey(table: table) }
        return TableShape(
            qualified: qualified, columns: try columns.map { Identifier(try $0.decode("name")) },
            key: key.sorted { $0.place < $1.place }.map { ($0.name, $0.isText) })
    }

    private static let columnsOfTable = """
        SELECT attname::text AS name, attcollation <> 0 AS is_text,
               array_position(pg_index.indkey::smallint[], attnum) AS place_in_key
          FROM pg_attribute
          LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
         ORDER BY attnum
        """
}
