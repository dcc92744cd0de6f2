import CLibpq
import Glibc

/// The answer to one statement.
package struct PostgresRows: Sendable, RandomAccessCollection {
    let result: LibpqResult

    package var startIndex: Int { 0 }
    package var endIndex: Int { result.rowCount }
    package subscript(index: Int) -> PostgresRow { PostgresRow(result: result, index: index) }

    /// How many rows an insert, update or delete touched; 0 for other statements.
    package var affected: Int { result.affected }

    /// The only row; throws if there is none or more than one.
    package func only() throws(PostgresError) -> PostgresRow {
        guard count == 1 else { throw PostgresError(.decoding, "expected one row, got \(count)") }
        return self[0]
    }
}

package struct PostgresRow: Sendable {
    let result: LibpqResult
    let index: Int

    /// The column `name` as a `T`. Null decodes as an optional only.
    package func decode<T: PostgresDecodable>(_ name: String, as type: T.Type = T.self) throws(PostgresError) -> T {
        guard let column = result.column(named: name) else {
            throw PostgresError(.decoding, "no column \(name) in \(result.columnNames)")
        }
        return try decode(column, as: type)
    }

    /// The column at `index`, from 0, as a `T`.
    package func decode<T: PostgresDecodable>(_ column: Int, as type: T.Type = T.self) throws(PostgresError) -> T {
        let value = result.withBytes(row: index, column: column) { T.decode($0, type: result.type(of: column)) }
        guard let value else {
            let state = result.isNull(row: index, column: column) ? "is null" : "has type \(result.type(of: column))"
            let reason =
                result.type(of: column) == 20 && !result.isNull(row: index, column: column)
                ? ", or is beyond ±2^62" : ""
            throw PostgresError(.decoding, "column \(result.columnNames[column]) \(state), not a \(T.self)\(reason)")
        }
        return value
    }
}

/// A `PGresult`, freed with the last reference.
///
/// `@unchecked Sendable`: libpq's manual, 34.20 «Behavior in Threaded Programs»: "PGresult objects
/// are normally read-only after creation, and so can be passed around freely between threads." None
/// of the functions that modify one is called here, and `pointer` is a constant that is freed only
/// in `deinit`.
final class LibpqResult: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let columnCount: Int32
    /// Why the statement was cancelled, if it was.
    private let ending: PostgresError?
    /// Whether it is an error of a standby.
    private let isFromStandby: Bool

    /// Takes ownership of `pointer`.
    init(owning pointer: OpaquePointer, ending: PostgresError?, isFromStandby: Bool) {
        self.pointer = pointer
        self.ending = ending
        self.isFromStandby = isFromStandby
        columnCount = PQnfields(pointer)
    }

    deinit { PQclear(pointer) }

    var status: ExecStatusType { PQresultStatus(pointer) }
    var rowCount: Int { Int(PQntuples(pointer)) }
    /// The server's command tag, such as `COMMIT`.
    var command: String { String(cString: PQcmdStatus(pointer)) }
    var affected: Int { Int(String(cString: PQcmdTuples(pointer))) ?? 0 }

    /// Built on demand, for error messages: a streamed row is a result of its own. The columns of a
    /// COPY have no names.
    var columnNames: [String] { (0..<columnCount).map { PQfname(pointer, $0).map { String(cString: $0) } ?? "" } }

    func column(named name: String) -> Int? {
        name.withCString { name in
            (0..<columnCount).first { PQfname(pointer, $0).map { strcmp($0, name) == 0 } ?? false }.map(Int.init)
        }
    }
    func type(of column: Int) -> UInt32 { PQftype(pointer, Int32(column)) }
    func isNull(row: Int, column: Int) -> Bool { PQgetisnull(pointer, Int32(row), Int32(column)) == 1 }

    /// The bytes are valid only inside `body`: they belong to this result.
    func withBytes<T>(row: Int, column: Int, _ body: (UnsafeRawBufferPointer?) -> T) -> T {
        precondition(row < rowCount && column < columnCount)
        if isNull(row: row, column: column) { return body(nil) }
        let length = Int(PQgetlength(pointer, Int32(row), Int32(column)))
        return withExtendedLifetime(self) {
            body(UnsafeRawBufferPointer(start: PQgetvalue(pointer, Int32(row), Int32(column)), count: length))
        }
    }

    /// The memory that libpq holds for this result, for bounding buffers: never 0, and much more
    /// than the values of a small row.
    var size: Int { PQresultMemorySize(pointer) }

    /// The error of this result; `nil` if it is none.
    var error: PostgresError? {
        guard status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE else { return nil }
        func field(_ code: Int32) -> String? { PQresultErrorField(pointer, code).map { String(cString: $0) } }
        guard let state = field(Int32(UInt8(ascii: "C"))) else {
            // libpq's own errors have no SQLSTATE. They mean that the connection is lost.
            let message = String(cString: PQresultErrorMessage(pointer))
            return PostgresError(.connectionLost, message.trimmed)
        }
        // The server only reports that the statement was cancelled; we know why.
        if let ending, SQLState(state) == .queryCancelled { return ending }
        var error = PostgresError(.server, field(Int32(UInt8(ascii: "M"))) ?? "unknown error")
        error.sqlState = SQLState(state)
        // A standby refuses some writes as read-only, and others, such as the lock on the log, as
        // not possible during recovery. It means the same.
        if isFromStandby, error.sqlState == .notInPrerequisiteCondition { error.sqlState = .readOnly }
        error.detail = field(Int32(UInt8(ascii: "D")))
        error.hint = field(Int32(UInt8(ascii: "H")))
        error.constraint = field(Int32(UInt8(ascii: "n")))
        error.context = field(Int32(UInt8(ascii: "W")))
        error.textPosition = field(Int32(UInt8(ascii: "P"))).flatMap { Int($0) }
        return error
    }
}

extension String {
    /// Without the newline that libpq ends its messages with.
    var trimmed: String {
        var text = self[...]
        while text.last?.isWhitespace == true { text = text.dropLast() }
        return String(text)
    }
}
