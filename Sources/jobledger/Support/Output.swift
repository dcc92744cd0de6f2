import Foundation
import LedgerCore

/// Whoever read our output has gone.
struct OutputClosed: Error {}

/// Standard output for results, standard error for everything else.
enum Output {
    /// Writes one line and hands it over at once, for a reader may be waiting for it.
    static func line(_ bytes: [UInt8]) throws {
        var rest = (bytes + [0x0A])[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw OutputClosed() }
            rest = rest.dropFirst(written)
        }
    }

    static func line(_ text: String) throws { try line(Array(text.utf8)) }

    /// Writes one JSON document on a line, its members in the order of their names.
    /// - Parameters:
    ///   - member: the name of one more member of the object, which is JSON text already.
    static func json(_ value: some Encodable, adding member: String, as text: String) throws {
        try line(self.text(value, adding: member, as: text))
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

    static func diagnostic(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }

    /// Makes text from a job safe to show: a terminal obeys control characters.
    static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{FFFD}" : $0 }))
    }

    static func printable(_ text: ExactText) -> String { printable(text.text) }

    /// A value of JSON, for people: a string without its quotes, and no more of it than fits.
    static func value(_ json: [UInt8], longest: Int) -> String {
        let text = printable(JSONText.string(from: json) ?? String(decoding: json, as: UTF8.self))
        return text.count > longest ? text.prefix(longest) + "…" : text
    }
}

extension String {
    /// Followed by as many spaces as make columns of a table, one at least.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}
