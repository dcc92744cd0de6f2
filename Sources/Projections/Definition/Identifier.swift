/// A name from the catalog. It may contain any character, so SQL always gets it quoted.
struct Identifier: Sendable, Hashable, CustomStringConvertible {
    let text: String

    init(_ text: String) { self.text = text }

    /// Quoted as an SQL identifier.
    var description: String { "\"" + text.replacing("\"", with: "\"\"") + "\"" }
    /// Quoted as an SQL string. Sessions keep standard_conforming_strings on.
    var literal: String { "'" + text.replacing("'", with: "''") + "'" }
}
