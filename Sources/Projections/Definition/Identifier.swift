/// A name as the catalog has it, which may be anything: SQL gets it quoted, whoever made it.
struct Identifier: Sendable, Hashable, CustomStringConvertible {
    let text: String

    init(_ text: String) { self.text = text }

    /// As SQL has an identifier.
    var description: String { "\"" + text.replacing("\"", with: "\"\"") + "\"" }
    /// As SQL has a text. Sessions keep to standard_conforming_strings.
    var literal: String { "'" + text.replacing("'", with: "''") + "'" }
}
