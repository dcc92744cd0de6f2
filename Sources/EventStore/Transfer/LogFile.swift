import Foundation
package import LedgerCore

/// The log as a file in NDJSON. Every event keeps its position and its exact data.
///
/// The first line names the log and the range of positions. Then each event is a line, in the log's
/// order. Data and metadata are JSON *strings*, because only a string preserves the exact bytes
/// that were sent, line feeds between tokens included. The last line has the number of events, and
/// the SHA-256 of all lines before it with their line feeds. The same range of the same log always
/// gives the same file.
package enum LogFile {
    static let format = "jobledger log"
    static let version = 1

    /// The first line.
    package struct Header: Codable, Sendable, Equatable {
        package var format: String
        package var version: Int
        package var ledger: String
        package var epoch: String
        package var from: Position
        package var to: Position
        /// The SHA-256 of the line of the event before the first. By it an import checks what the
        /// file continues. `nil` if the file starts at the beginning of the log.
        package var previous: String?
    }

    /// The last line.
    package struct Footer: Codable, Sendable, Equatable {
        package var count: Int64
        package var sha256: String
    }

    /// The problem with a file, or with importing it into this ledger.
    package struct Refused: Error, Sendable, CustomStringConvertible {
        package let description: String
        package init(description: String) { self.description = description }
    }

    /// Parses the first line of the file at `path`. Its content is not trusted: no digest has been
    /// checked yet.
    static func header(_ line: [UInt8], of path: String) throws(Refused) -> Header {
        guard let header = try? JSONDecoder().decode(Header.self, from: Data(line)), header.format == format else {
            throw Refused(description: "\(path): the first line is not one that jobledger export writes")
        }
        guard header.version == version else {
            throw Refused(
                description: "\(path) has version \(header.version) of the format; this program knows \(version)")
        }
        guard EventID(text: header.epoch) != nil else {
            throw Refused(description: "\(path): the first line names an epoch that is no UUID")
        }
        try requireExact(line, header, "first", of: path)
        guard Position.positions.contains(header.from), Position.positions.contains(header.to), header.from > 0,
            header.from <= header.to + 1
        else {
            throw Refused(
                description: "\(path): the first line says positions \(header.from) to \(header.to), which no log has")
        }
        return header
    }

    /// Parses the last line of the file at `path`.
    static func footer(_ line: ArraySlice<UInt8>, of path: String) throws(Refused) -> Footer {
        guard let footer = try? JSONDecoder().decode(Footer.self, from: Data(line)) else {
            throw Refused(
                description: """
                    \(path) ends without its last line, which has the number of events: it is \
                    incomplete. Nothing was imported.
                    """)
        }
        try requireExact(line, footer, "last", of: path)
        return footer
    }

    /// Throws if a line differs from what an export writes. A line with a repeated or an additional
    /// member could mean something else to another program.
    private static func requireExact(
        _ line: some Sequence<UInt8>, _ value: some Encodable, _ which: String, of path: String
    ) throws(Refused) {
        guard let exact = try? self.line(value), exact.elementsEqual(line) else {
            throw Refused(
                description: """
                    \(path): the \(which) line is not as jobledger export writes it, so it was \
                    changed. Nothing was imported.
                    """)
        }
    }

    static func line(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value)) + [0x0A]
    }
}
