import Foundation

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
        let object = try encode(value).dropLast()
        try line(object + Array(",\"\(member)\":\(text)}".utf8))
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
}
