import LedgerCore
import Testing

@Suite struct CSVTextTests {
    @Test(arguments: [
        ("a", "a"), ("", ""), ("a,b", "\"a,b\""), ("\"", "\"\"\"\""), ("a\nb", "\"a\nb\""), ("=1", "'=1"),
        ("+1", "'+1"),
        ("-1", "'-1"), ("@x", "'@x"), ("\tx", "'\tx"), ("\r=1", "\"'\r=1\""), ("=1,2", "\"'=1,2\""), (" =1", " =1"),
        ("=\u{301}1", "'=\u{301}1"),
    ])
    func cellsOfTexts(_ text: String, _ cell: String) { #expect(CSVText.cell(text) == cell) }

    @Test(arguments: [
        ("null", ""), ("-1.50", "-1.50"), ("12345678901234567890", "12345678901234567890"), ("true", "true"),
        (#""=1""#, "'=1"), (#""a\"b""#, "\"a\"\"b\""), (#"{"a":1}"#, "\"{\"\"a\"\":1}\""), ("[]", "[]"), ("", ""),
    ])
    func cellsOfJSON(_ json: String, _ cell: String) { #expect(CSVText.cell(json: Array(json.utf8)[...]) == cell) }

    @Test func lines() { #expect(CSVText.line(["a", "", "b"]) == "a,,b\r\n") }
}
