import Diagnostics
import Foundation
import LedgerCore

/// Writes results to standard output and everything else to standard error.
enum Output {
    private static let isTerminal = isatty(STDOUT_FILENO) == 1

    /// Writes a document for programs, or a part of one that ends at the end of a line.
    static func write(_ bytes: [UInt8]) throws {
        try StandardOutput.write(
            isTerminal ? Array(String(decoding: bytes, as: UTF8.self).printableDocument.utf8) : bytes)
    }

    /// Writes one line for programs, at once and without buffering, because a reader may wait for
    /// it.
    static func line(_ bytes: [UInt8]) throws { try write(bytes + [0x0A]) }

    /// Writes one or more lines for people. Control characters in the text are replaced.
    static func line(_ text: String) throws { try StandardOutput.write(Array((text.printableLines + "\n").utf8)) }

    /// Writes one JSON object on a line, with its members in the order of their names.
    /// - Parameters:
    ///   - member: the name of one more member, which comes last.
    ///   - text: the value of that member, as JSON text.
    static func json(_ value: some Encodable, adding member: String, as text: String) throws {
        try line(Array(self.text(value, adding: member, as: text).utf8))
    }

    /// The JSON text that ``json(_:adding:as:)`` writes.
    static func text(_ value: some Encodable, adding member: String, as text: String) throws -> String {
        String(decoding: try encode(value).dropLast(), as: UTF8.self) + ",\"\(member)\":\(text)}"
    }

    static func json(_ value: some Encodable) throws { try line(encode(value)) }

    private static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return Array(try encoder.encode(value))
    }

    static func diagnostic(_ text: String) { StandardError.say(text) }

    /// Text from an event, made safe for one line of a terminal: control characters and line feeds
    /// are replaced.
    static func printable(_ text: String) -> String { text.printable }

    static func printable(_ text: ExactText) -> String { printable(text.text) }

    /// A JSON value for people: a string loses its quotes, and a long value is cut.
    /// - Parameter longest: the most bytes.
    static func value(_ json: [UInt8], longest: Int) -> String {
        let text = printable(JSONText.string(from: json) ?? String(decoding: json, as: UTF8.self))
        return text.shortened(toBytes: longest)
    }
}

extension String {
    /// The text, filled with spaces to the width of a table's column. At least one space follows.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}
