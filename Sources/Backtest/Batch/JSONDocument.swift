import Foundation

/// A value that this module writes as JSON.
package protocol JSONDocument: Encodable {}

extension JSONDocument {
    /// One line with sorted keys, so that equal values have equal bytes.
    /// - Throws: where a number is not finite.
    package func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}

extension Run: JSONDocument {}
extension BatchSummary: JSONDocument {}
extension Variable: JSONDocument {}
