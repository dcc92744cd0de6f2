import Testing

@testable import Texts

@Suite struct GivenTextsTests {
    /// An é in Latin-1, half of an é, half of a surrogate pair, an overlong slash, and arbitrary
    /// bytes.
    private static let broken: [[UInt8]] = [
        Array("jos".utf8) + [0xE9], [0xC3], [0xED, 0xA0, 0x80], [0xC0, 0xAF], [0xFF, 0xFE],
        Array(repeating: 0x80, count: 200),
    ]

    @Test(arguments: broken)
    func anArgumentThatIsNotUTF8IsRefused(bytes: [UInt8]) throws {
        let error = try #require(throws: GivenTexts.NotText.self) { try GivenTexts.check(argument: bytes, 3) }
        #expect(error.description.hasPrefix("argument 3 is not UTF-8") && error.description.utf8.count < 600)
        #expect(error.description.contains(bytes.count < 60 ? "\\x" : "…"))
    }

    @Test(arguments: ["", "jos\u{E9}", "jose\u{301}", "\u{FFFD}", "\u{1F680}", "a\nb"])
    func aTextIsTaken(text: String) throws {
        try GivenTexts.check(argument: Array(text.utf8), 1)
        try GivenTexts.check(variable: Array("NAME=\(text)".utf8)) { _ in true }
    }

    /// Its value may be a password, and other programs' variables are not checked.
    @Test(arguments: broken)
    func aVariableThatIsNotUTF8IsNamed(bytes: [UInt8]) throws {
        let variable = Array("DATABASE_URL=secret".utf8) + bytes
        let error = try #require(throws: GivenTexts.NotText.self) {
            try GivenTexts.check(variable: variable) { $0 == "DATABASE_URL" }
        }
        #expect(error.description.hasPrefix("DATABASE_URL is not UTF-8") && !error.description.contains("secret"))
        try GivenTexts.check(variable: variable) { $0 == "OTHER" }
    }
}
