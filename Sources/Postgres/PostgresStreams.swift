import BlockingIO

/// Rows that are read from the server as they are consumed: memory holds one chunk of them,
/// whatever the size of the table.
///
/// The loop may be left early: the statement is cancelled before the connection's next one. Inside
/// a transaction, which a cancelled statement would fail, the rest is read and dropped instead.
package struct PostgresRowStream: AsyncSequence, Sendable {
    let connection: PostgresConnection
    let statement: PostgresStatement
    /// About how many bytes of rows are held in memory and fetched at once.
    let chunk: Int

    package func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    package struct Iterator: AsyncIteratorProtocol {
        let stream: PostgresRowStream
        private var operation: Int?
        private var rows: [PostgresRow] = []
        private var next = 0
        private var isOver = false

        init(stream: PostgresRowStream) { self.stream = stream }

        package mutating func next(isolation actor: isolated (any Actor)?) async throws -> PostgresRow? {
            if next == rows.count, !isOver {
                let (statement, chunk, running) = (stream.statement, stream.chunk, operation)
                (rows, operation) = try await stream.connection.cancellable { connection, cancellation in
                    let operation = try running ?? connection.begin(statement)
                    return (try connection.nextRows(of: operation, atMost: chunk, cancellation), operation)
                }
                next = 0
                // A chunk that is not full is the last one.
                isOver = rows.reduce(0) { $0 + $1.result.size } < chunk
            }
            guard next < rows.count else { return nil }
            defer { next += 1 }
            return rows[next]
        }
    }
}

/// The bytes of a `COPY … TO STDOUT`, in chunks that end at the end of a row.
package struct PostgresCopyOut: AsyncSequence, Sendable {
    let connection: PostgresConnection
    let sql: String
    let chunk: Int

    package func makeAsyncIterator() -> Iterator { Iterator(copy: self) }

    package struct Iterator: AsyncIteratorProtocol, Sendable {
        let copy: PostgresCopyOut
        private var operation: Int?
        private var isOver = false

        init(copy: PostgresCopyOut) { self.copy = copy }

        package mutating func next(isolation actor: isolated (any Actor)?) async throws -> [UInt8]? {
            if isOver { return nil }
            let (sql, size, running) = (copy.sql, copy.chunk, operation)
            let bytes: [UInt8]
            (bytes, operation) = try await copy.connection.cancellable { connection, cancellation in
                let operation = try running ?? connection.beginCopy(sql, .out, cancellation)
                return (try connection.nextCopyOut(of: operation, atMost: size, cancellation), operation)
            }
            isOver = bytes.count < size
            return bytes.isEmpty ? nil : bytes
        }
    }
}

extension PostgresConnection {
    /// The rows of one statement, read as they are consumed.
    package nonisolated func stream(
        _ sql: String, _ parameters: any PostgresEncodable..., chunk: Int = 256 << 10
    ) -> PostgresRowStream {
        stream(PostgresStatement(sql, parameters), chunk: chunk)
    }

    package nonisolated func stream(_ statement: PostgresStatement, chunk: Int = 256 << 10) -> PostgresRowStream {
        precondition(chunk > 0)
        return PostgresRowStream(connection: self, statement: statement, chunk: chunk)
    }

    /// The output of a `COPY … TO STDOUT`.
    /// - Parameter sql: the COPY, as the last statement. Statements before it run first, in the
    ///   same round trip, and their rows are dropped.
    package nonisolated func copyOut(_ sql: String, chunk: Int = 256 << 10) -> PostgresCopyOut {
        precondition(chunk > 0)
        return PostgresCopyOut(connection: self, sql: sql, chunk: chunk)
    }

    /// Feeds a `COPY … FROM STDIN`. If `chunks` throws, the whole COPY is undone.
    /// - Returns: how many rows were copied.
    @discardableResult
    package nonisolated func copyIn<Chunks: AsyncSequence>(_ sql: String, _ chunks: Chunks) async throws -> Int
    where Chunks.Element == [UInt8] {
        let operation = try await cancellable { try $0.beginCopy(sql, .into, $1) }
        do {
            for try await chunk in chunks {
                try await cancellable { try $0.copyIn(chunk, of: operation, $1) }
            }
            // A source may simply end when the task is cancelled. Then this throws, so that half of
            // the rows is not committed as the whole.
            return try await cancellable { try $0.finishCopyIn(of: operation, failing: nil, $1) }
        } catch {
            await abortCopyIn(operation, "the source failed: \(error)")
            throw error
        }
    }
}
