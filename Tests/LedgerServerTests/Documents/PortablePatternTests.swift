import Testing

@testable import LedgerServer

@Suite("patterns of Postgres in ECMA-262") struct PortablePatternTests {
    @Test(
        "what means the same stays, or is written otherwise",
        arguments: [
            ("", ""), ("^[a-z][a-z0-9-]*$", "^[a-z][a-z0-9\\-]*$"), ("a{2}b{1,}c{1,3}?", "a{2}b{1,}c{1,3}?"),
            ("(?:a|b)+?(c|)", "(?:a|b)+?(c|)"), (#"\d\D\w\W"#, #"\d\D\w\W"#), (#"\n\t\u00e9"#, #"\n\t\u00e9"#),
            // A dot is a line's end too.
            ("a.b", #"a[\s\S]b"#), (#"a\.b"#, #"a\.b"#), (#"\Aab\Z"#, "^ab$"),
            // An escape that ECMA-262 does not know, because none is needed.
            (#"a\@b\-c"#, "a@b-c"), ("é😀", "é😀"),
            ("[]a]", #"[\]a]"#), ("[^]a]", #"[^\]a]"#), ("[a-]", #"[a\-]"#), ("[-a]", #"[\-a]"#), ("[[]", #"[\[]"#),
            (#"[\w.-]"#, #"[\w.\-]"#), (#"[a\-c]"#, #"[a\-c]"#), ("[^a.]", "[^a.]"), ("[$^]", "[$^]"),
        ])
    func same(pattern: String, portable: String) { #expect(PortablePattern.of(pattern) == portable) }

    @Test(
        "what only Postgres has, or means otherwise, is left out",
        arguments: [
            "[[:alpha:]]", "[[.a.]]", "[[=a=]]", "(?i)a", "***=a.b", "***:a", #"\s"#, #"\S"#, #"[\s]"#, #"\ma"#,
            #"a\y"#,
            #"\x61"#, #"\b"#, #"\B"#, "a]", "a}", "a{b", "{", #"\ud83d"#, #"\u00"#, #"\é"#, #"[a-\d]"#, #"[\d-a]"#,
            "[a-c-e]", "[", "[a", #"a\"#,
        ])
    func other(pattern: String) { #expect(PortablePattern.of(pattern) == nil) }
}
