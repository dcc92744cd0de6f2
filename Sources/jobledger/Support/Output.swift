import Diagnostics
import Foundation
import LedgerCore

/// Standard output for results, standard error for everything else.
enum Output {
    private static let isTerminal = isatty(STDOUT_FILENO) == 1

    /// Writes a document for programs, or a part of one that ends with a line.
    static func write(_ bytes: [UInt8]) throws {
        try StandardOutput.write(
            isTerminal ? Array(String(decoding: bytes, as: UTF8.self).printableDocument.utf8) : bytes)
    }

    /// Writes one line for programs and hands it over at once, for a reader may be waiting for it.
    static func line(_ bytes: [UInt8]) throws { try write(bytes + [0x0A]) }

    /// Writes a line for people, or several: no control character of any text in it gets through.
    static func line(_ text: String) throws { try StandardOutput.write(Array((text.printableLines + "\n").utf8)) }

    /// Writes one JSON document on a line, its members in the order of their names.
    /// - Parameters:
    ///   - member: the name of one more member of the object, which is JSON text already.
    static func json(_ value: some Encodable, adding member: String, as text: String) throws {
        try line(Array(self.text(value, adding: member, as: text).utf8))
    }

    /// Such a document, as text.
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

    /// Text from a job as it may stand on a line, without line feeds.
    static func printable(_ text: String) -> String { text.printable }

    static func printable(_ text: ExactText) -> String { printable(text.text) }

    /// A value of JSON, for people: a string without its quotes, and no more of it than fits.
    static func value(_ json: [UInt8], longest: Int) -> String {
        let text = printable(JSONText.string(from: json) ?? String(decoding: json, as: UTF8.self))
        return text.shortened(toBytes: longest)
    }
}

extension String {
    /// Followed by as many spaces as make columns of a table, one at least.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}
