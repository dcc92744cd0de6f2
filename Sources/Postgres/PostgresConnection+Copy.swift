import BlockingIO

/// The steps of a COPY, for ``PostgresConnection/copyIn(_:_:)`` and ``PostgresCopyOut``.
extension PostgresConnection {
    /// - Parameter sql: a COPY in this direction, after statements that run first.
    func beginCopy(_ sql: String, _ direction: CopyDirection, _ cancellation: Cancellation) throws(PostgresError) -> Int
    {
        let libpq = try ready()
        let isInTransaction = libpq.isInTransaction
        try libpq.send(script: sql)
        let operation = started(inTransaction: isInTransaction)
        do throws(PostgresError) {
            while let result = try libpq.nextResult(cancellation) {
                if let error = result.error { throw error }
                if result.status == direction.status { return operation }
                guard !result.isCopy else { throw PostgresError(.usage, "not a \(direction.rawValue)") }
            }
        } catch {
            throw recover(from: error)
        }
        isStreaming = false
        throw PostgresError(.usage, "not a \(direction.rawValue)")
    }

    func copyIn(_ bytes: [UInt8], of operation: Int, _ cancellation: Cancellation) throws(PostgresError) {
        do throws(PostgresError) {
            try ongoing(operation).putCopyData(bytes, cancellation)
        } catch {
            throw recover(from: error)
        }
    }

    func finishCopyIn(of operation: Int, failing message: String?, _ cancellation: Cancellation) throws(PostgresError)
        -> Int
    {
        let libpq = try ongoing(operation)
        do throws(PostgresError) {
            try libpq.endCopy(failing: message, cancellation)
            var affected = 0
            while let result = try libpq.nextResult(cancellation) {
                if let error = result.error { throw error }
                affected = result.affected
            }
            isStreaming = false
            return affected
        } catch {
            throw recover(from: error)
        }
    }

    /// Makes the server undo a COPY whose source failed, unless it has done so itself. It also
    /// works in a cancelled task.
    func abortCopyIn(_ operation: Int, _ message: String) {
        guard isStreaming, operation == self.operation else { return }
        // The server answers an aborted COPY with an error; the caller gets the source's own error.
        _ = try? finishCopyIn(of: operation, failing: message, Cancellation(ringing: interrupt))
    }

    /// The next rows of a `COPY … TO STDOUT`; empty at the end.
    func nextCopyOut(of operation: Int, atMost bytes: Int, _ cancellation: Cancellation) throws(PostgresError)
        -> [UInt8]
    {
        let libpq = try ongoing(operation)
        var chunk: [UInt8] = []
        do throws(PostgresError) {
            while chunk.count < bytes {
                guard try libpq.copyData(into: &chunk, cancellation) else {
                    while let result = try libpq.nextResult(cancellation) {
                        if let error = result.error { throw error }
                    }
                    isStreaming = false
                    break
                }
            }
        } catch {
            throw recover(from: error)
        }
        return chunk
    }
}

enum CopyDirection: String {
    case into = "COPY … FROM STDIN"
    case out = "COPY … TO STDOUT"
}
