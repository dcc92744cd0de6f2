import Crypto
import LedgerCore
import Postgres

extension LogFile {
    /// A `COPY` of events as lines. It uses the CSV format with a delimiter and a quote that JSON
    /// texts never contain, so that it changes no byte of them.
    static func copy(from: Position, to: Position) -> String {
        """
        COPY (
          SELECT exported_line(events)
            FROM events
           WHERE position BETWEEN \(from) AND \(to)
           ORDER BY position
        ) TO STDOUT WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')
        """
    }

    /// The SHA-256 of an event's line with its line feed, in hexadecimal; `nil` if there is no such
    /// event.
    static func digest(of position: Position, on connection: PostgresConnection) async throws -> String? {
        var hash = SHA256()
        var isThere = false
        for try await chunk in connection.copyOut(copy(from: position, to: position)) {
            hash.update(data: chunk)
            isThere = true
        }
        return isThere ? hash.finalize().hexadecimal : nil
    }
}
