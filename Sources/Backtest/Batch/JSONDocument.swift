import Foundation

/// What this module renders as JSON.
package protocol JSONDocument: Encodable {}

extension JSONDocument {
    /// One line with sorted keys, so that equal values are equal bytes. Throws rather than writing
    /// a number that is not finite.
    package func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}

extension Run: JSONDocument {}
extension BatchSummary: JSONDocument {}
extension Variable: JSONDocument {}
