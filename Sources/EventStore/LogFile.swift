import Crypto
import Foundation
import LedgerCore

/// The log as a file: NDJSON, in which every event keeps its place, and its data to the letter.
///
/// The first line says of which log it is, and from where to where. Then a line an event, in the log's order; its data and metadata are JSON
/// *strings*, for only so can the bytes that were sent come back, line feeds between them included. The last line counts the
/// events, and has the SHA-256 of all lines before it, each with its line feed. The same stretch of the same log gives the same file.
public enum LogFile {
    static let format = "jobledger log"
    static let version = 1

    /// The first line.
    public struct Header: Codable, Sendable, Equatable {
        public var format: String
        public var version: Int
        public var ledger: String
        public var epoch: String
        public var from: Position
        public var to: Position
    }

    /// The last line.
    public struct Footer: Codable, Sendable, Equatable {
        public var count: Int64
        public var sha256: String
    }

    /// What is wrong with a file, or with importing it here.
    public struct Refused: Error, Sendable, CustomStringConvertible {
        public let description: String
        public init(description: String) { self.description = description }
    }

    static func line(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value)) + [0x0A]
    }

    /// The lines of events, as the server writes them: `COPY` in CSV, with a delimiter and a quote that JSON has in none of its texts, so
    /// that it changes nothing.
    static func copy(from: Position, to: Position) -> String {
        """
        COPY (
          SELECT '{"position":' || position || ',"event_id":"' || event_id || '","category":' || to_json(category) || ',"stream_id":' || to_json(stream_id::text)
                   || ',"version":' || version || ',"type":' || to_json(type::text)
                   || ',"occurred_at":' || coalesce(to_json(occurred_at)::text, 'null') || ',"recorded_at":' || to_json(recorded_at)
                   || ',"data":' || to_json(data::text) || ',"metadata":' || to_json(metadata::text) || '}'
            FROM events
           WHERE position BETWEEN \(from) AND \(to)
           ORDER BY position
        ) TO STDOUT WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')
        """
    }

    static func hexadecimal(_ digest: SHA256.Digest) -> String {
        digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
