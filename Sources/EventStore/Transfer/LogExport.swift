import Crypto
package import LedgerCore
package import Postgres

/// Writes a range of the log as a ``LogFile``.
package struct LogExport: Sendable {
    private let ledger: LedgerName

    package init(_ ledger: LedgerName) { self.ledger = ledger }

    /// - Parameters:
    ///   - from: the first position.
    ///   - to: the last position, which must exist; `from - 1` for a range without events.
    ///   - progress: receives the number of events written so far.
    ///   - write: receives the file's bytes, some hundred kilobytes at a time.
    package func run(
        from: Position, to: Position, on connection: PostgresConnection,
        progress: (Int64) async throws -> Void = { _ in }, _ write: ([UInt8]) async throws -> Void
    ) async throws -> LogFile.Footer {
        let epoch: String = try await connection.query("SELECT epoch::text FROM ledger").only().decode(0)
        let header = LogFile.Header(
            format: LogFile.format, version: LogFile.version, ledger: ledger.text, epoch: epoch, from: from, to: to,
            previous: try await LogFile.digest(of: from - 1, on: connection))
        var hash = SHA256()
        let first = try LogFile.line(header)
        hash.update(data: first)
        try await write(first)
        var count: Int64 = 0
        if from <= to {
            for try await chunk in connection.copyOut(LogFile.copy(from: from, to: to)) {
                hash.update(data: chunk)
                // A line contains no other line feed, so each stands for one event.
                count += Int64(chunk.count { $0 == 0x0A })
                try await write(chunk)
                try await progress(count)
            }
        }
        guard count == to - from + 1 else {
            throw LogFile.Refused(
                description: "the log has \(count) events from position \(from) to \(to): it has a gap")
        }
        let footer = LogFile.Footer(count: count, sha256: hash.finalize().hexadecimal)
        try await write(try LogFile.line(footer))
        return footer
    }
}
