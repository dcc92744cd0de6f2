import BlockingIO
import CLibpq
import Postgres

/// libpq alone, blocking, with nothing around it: the baseline of the measurements.
///
/// Whole loops run inside one call, so that the baseline pays for no switch between threads.
actor BareConnection {
    private let executor = BlockingExecutor(label: "bare")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private let libpq: BareLibpq

    /// Connects, with `schema` as the search path. A statement is cancelled after ten minutes, so
    /// that no measurement waits for ever.
    init(_ url: String, schema: String) async throws {
        libpq = try BareLibpq(url)
        try run("SET search_path = \"\(schema)\"; SET statement_timeout = '600s'; SET client_encoding = 'UTF8'")
    }

    /// Runs statements without parameters.
    func run(_ script: String) throws { _ = try libpq.result(PQexec(libpq.pointer, script)) }

    func prepare(_ name: String, _ sql: String) throws {
        _ = try libpq.result(PQprepare(libpq.pointer, name, sql, 0, nil))
    }

    /// Runs a prepared statement. Returns its only value as a `bigint`; 0 if it returns no row.
    @discardableResult
    func execute(_ name: String, _ parameters: [[UInt8]?]) throws -> Int64 {
        try libpq.execute(name, parameters).number
    }

    /// Runs a prepared statement repeatedly, each time in its own transaction, until `deadline`.
    /// Returns how often it ran.
    func repeatedly(
        _ name: String, until deadline: ContinuousClock.Instant, _ parameters: @Sendable (Int) -> [[UInt8]?]
    ) throws -> Int {
        var count = 0
        while ContinuousClock.now < deadline {
            try Task.checkCancellation()
            _ = try libpq.execute(name, parameters(count))
            count += 1
        }
        return count
    }

    /// Copies chunk after chunk, each in its own transaction, until there is none.
    /// - Parameter chunk: returns the n-th chunk, from 0, in COPY's text format.
    func copy(_ sql: String, _ chunk: @Sendable (Int) throws -> [UInt8]?) throws {
        var number = 0
        while let bytes = try chunk(number) {
            try Task.checkCancellation()
            try libpq.copy(sql, bytes)
            number += 1
        }
    }

    /// Reads the log from `first` to `last`, all columns, in windows, without decoding values.
    /// Returns the number of rows.
    func read(from first: Int64, to last: Int64, window: Int64 = 10_000) throws -> Int {
        var (count, after) = (0, first - 1)
        while after < last {
            try Task.checkCancellation()
            count += try libpq.query(
                "SELECT * FROM events WHERE position > $1 AND position <= $2 ORDER BY position",
                [after.postgresBytes(), min(last, after + window).postgresBytes()], types: [20, 20]
            ).rows
            after += window
        }
        return count
    }
}

/// A `PGconn`. Not `Sendable` on purpose: it lives in one ``BareConnection``, whose methods run one
/// at a time.
private final class BareLibpq {
    let pointer: OpaquePointer

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    init(_ url: String) throws {
        guard let pointer = PQconnectdb(url) else { throw Failure(description: "libpq: out of memory") }
        // From here on `deinit` frees it, also when this initializer throws.
        self.pointer = pointer
        guard PQstatus(pointer) == CONNECTION_OK else { throw failure }
    }

    deinit { PQfinish(pointer) }

    private var failure: Failure { Failure(description: "baseline: \(String(cString: PQerrorMessage(pointer)))") }

    /// The number of rows and the value of a result, which is freed.
    func result(_ result: OpaquePointer?) throws -> (rows: Int, number: Int64) {
        guard let result else { throw failure }
        defer { PQclear(result) }
        guard [PGRES_TUPLES_OK, PGRES_COMMAND_OK].contains(PQresultStatus(result)) else { throw failure }
        var number: Int64 = 0
        if PQntuples(result) == 1, PQnfields(result) == 1, PQgetlength(result, 0, 0) == 8, PQfformat(result, 0) == 1 {
            // The value has eight bytes, as just checked, and the result is freed after this.
            number = Int64(bigEndian: UnsafeRawPointer(PQgetvalue(result, 0, 0)).loadUnaligned(as: Int64.self))
        }
        return (Int(PQntuples(result)), number)
    }

    func execute(_ name: String, _ parameters: [[UInt8]?]) throws -> (rows: Int, number: Int64) {
        try result(
            withPointers(parameters) { PQexecPrepared(pointer, name, Int32(parameters.count), $0, $1, $2, 1) })
    }

    func query(_ sql: String, _ parameters: [[UInt8]?], types: [UInt32]) throws -> (rows: Int, number: Int64) {
        try result(
            withPointers(parameters) { PQexecParams(pointer, sql, Int32(parameters.count), types, $0, $1, $2, 1) })
    }

    func copy(_ sql: String, _ bytes: [UInt8]) throws {
        let start = PQexec(pointer, sql)
        defer { PQclear(start) }
        guard PQresultStatus(start) == PGRES_COPY_IN else { throw failure }
        // libpq copies the bytes into its own buffer, or sends them, before it returns.
        let sent = bytes.withUnsafeBytes {
            PQputCopyData(pointer, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count))
        }
        guard sent == 1, PQputCopyEnd(pointer, nil) == 1 else { throw failure }
        var error: Failure?
        while let answer = PQgetResult(pointer) {
            if PQresultStatus(answer) != PGRES_COMMAND_OK { error = failure }
            PQclear(answer)
        }
        if let error { throw error }
    }

    /// Gives `body` the values as libpq needs them: pointers into one buffer, valid only inside
    /// `body`.
    private func withPointers(
        _ values: [[UInt8]?], _ body: ([UnsafePointer<CChar>?], [Int32], [Int32]) -> OpaquePointer?
    ) -> OpaquePointer? {
        let joined = values.reduce(into: [UInt8]()) { $0 += $1 ?? [] } + [0]
        return joined.withUnsafeBytes { buffer in
            var start = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
            let pointers: [UnsafePointer<CChar>?] = values.map { value in
                defer { start += value?.count ?? 0 }
                return value == nil ? nil : start
            }
            return body(pointers, values.map { Int32($0?.count ?? 0) }, values.map { _ in 1 })
        }
    }
}
