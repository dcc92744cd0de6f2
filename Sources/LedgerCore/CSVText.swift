/// Cells and lines of CSV by RFC 4180.
package enum CSVText {
    /// A text from outside as a cell. A spreadsheet would evaluate a text that begins like a
    /// formula, so such a text gets an apostrophe in front, which spreadsheets hide.
    package static func cell(_ text: String?) -> String {
        guard var text, let first = text.unicodeScalars.first else { return "" }
        if "=+-@\t\r".unicodeScalars.contains(first) { text = "'" + text }
        let needsQuotes = text.unicodeScalars.contains { "\",\r\n".unicodeScalars.contains($0) }
        return needsQuotes ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    }

    /// A JSON value as a cell: of a string its text, nothing for null, and the JSON of all else.
    /// Numbers are no formulas, also below zero.
    package static func cell(json value: ArraySlice<UInt8>) -> String {
        guard let first = value.first, first != UInt8(ascii: "n") else { return "" }
        let text = String(decoding: value, as: UTF8.self)
        switch first {
        case UInt8(ascii: "\""): return cell(JSONText.string(from: value) ?? text)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return text
        default: return cell(text)
        }
    }

    /// Cells as a line, with its end.
    package static func line(_ cells: [String]) -> String { cells.joined(separator: ",") + "\r\n" }
}
