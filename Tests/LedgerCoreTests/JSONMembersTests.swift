import LedgerCore
import Testing

@Suite struct JSONMembersTests {
    private func members(_ text: String) throws -> [String] {
        try JSONText.members(of: text).map { "\($0.name)=\(String(decoding: $0.value, as: UTF8.self))" }
    }

    @Test(arguments: [
        ("{}", [String]()),
        (" \t\r\n{ \n} \n", []),
        (#"{"a":1}"#, ["a=1"]),
        (#"{ "a" : 1 , "b" : [ 1 , 2 ] }"#, ["a=1", "b=[ 1 , 2 ]"]),
        (
            #"{"a":1.0,"b":1e400,"c":-0,"d":123456789012345678901234567890}"#,
            ["a=1.0", "b=1e400", "c=-0", "d=123456789012345678901234567890"]
        ),
        (#"{"z":true,"a":false,"a":null}"#, ["z=true", "a=false", "a=null"]),
        (#"{"s":"a\u00e9\/\"}{][,:","t":""}"#, [#"s="a\u00e9\/\"}{][,:""#, #"t="""#]),
        (#"{"o":{"x":{"y":[{},[],[[{}]]]}},"p":{}}"#, [#"o={"x":{"y":[{},[],[[{}]]]}}"#, "p={}"]),
        (#"{"\u0061\n\"":"👍é"}"#, ["a\n\"=\"👍é\""]),
        (#"{"":0}"#, ["=0"]),
        (#"{"a":[1,{"b" :2}, "c"]}"#, [#"a=[1,{"b" :2}, "c"]"#]),
        (#"{"a":"\\"}"#, [#"a="\\""#]),
    ])
    func valuesAreKeptByteForByte(text: String, expected: [String]) throws {
        #expect(try members(text) == expected)
    }

    @Test(arguments: [
        ("", 0), ("   ", 3), ("[]", 0), ("1", 0), ("null", 0), ("{", 1), (#"{""#, 2), (#"{"a"#, 3), (#"{"a""#, 4),
        (#"{"a":"#, 5),
        (#"{"a":1"#, 6), (#"{"a":1,"#, 7), (#"{"a":1,}"#, 7), (#"{,}"#, 1), (#"{a:1}"#, 1), (#"{'a':1}"#, 1),
        (#"{"a" 1}"#, 5),
        (#"{"a":1}x"#, 7), (#"{"a":1}{}"#, 7), (#"{"a":1 "b":2}"#, 7), (#"{"a":}"#, 5), (#"{"a":tru}"#, 5),
        (#"{"a":TRUE}"#, 5),
        (#"{"a":NaN}"#, 5), (#"{"a":+1}"#, 5), (#"{"a":.5}"#, 5), (#"{"a":[1,]}"#, 8), (#"{"a":[1 2]}"#, 8),
        (#"{"a":[}"#, 6),
        (#"{"a":[1}"#, 7), (#"{"a":{"b":1]}"#, 11), (#"{"a":{1:2}}"#, 6), (#"{"a":{"b"}}"#, 9), (#"{"a":"x}"#, 8),
        (#"{"a":"x\"#, 8),
        (#"{"a\"#, 4), ("{\"a\":\"\n\"}", 7), ("{\"a\":\"\0\"}", 7), (#"{"\x":1}"#, 1), (#"{"\u12":1}"#, 1),
        (#"{"\ud800":1}"#, 1),
        (#"{"\u+123":1}"#, 1), (#"{"\u-000":1}"#, 1), ("{\"a\":1}\0", 7), ("\u{FEFF}{}", 0), ("{\u{A0}}", 1),
    ])
    func brokenTextsAreErrorsWithTheirPlace(text: String, place: Int) throws {
        let error = try #require(throws: JSONText.SyntaxError.self) { try JSONText.members(of: text) }
        #expect(error.place == place, "\(error)")
        #expect(!error.message.isEmpty && error.description.hasSuffix("at byte \(place)"))
    }

    /// An element that is not JSON does not affect its neighbours.
    @Test func elementsAreCutOutByTheirBracketsAndStrings() throws {
        func elements(_ text: String) throws -> [String] {
            try JSONText.elements(of: Array(text.utf8)[...]).map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(try elements("[]") == [] && elements(" [ ] ") == [])
        #expect(
            try elements(#"[ {"a":1} , {"b":[1,{"c":2}]},"x,]}",7 ]"#) == [
                #"{"a":1}"#, #"{"b":[1,{"c":2}]}"#, #""x,]}""#, "7",
            ])
        #expect(
            try elements(#"[{"a":NaN},{"b":1},nonsense,{'c':1},,-Infinity]"#) == [
                #"{"a":NaN}"#, #"{"b":1}"#, "nonsense", "{'c':1}", "", "-Infinity",
            ])
        // A character that no string may contain is found when the element is read, and does not
        // affect the next one.
        #expect(try elements("[\"\u{1}\\\"]\",{}]") == ["\"\u{1}\\\"]\"", "{}"])
        for (text, place) in [
            ("", 0), ("{}", 0), ("[", 1), ("[{}", 3), (#"[{"a":1]"#, 7), (#"[{"a":"b]"#, 9), ("[}]", 1), ("[{}] x", 5),
            (#"[["a"}]"#, 5), ("[1 ", 3),
        ] {
            let error = try #require(throws: JSONText.SyntaxError.self, "\(text)") { try elements(text) }
            #expect(error.place == place, "\(text): \(error)")
        }
    }

    /// The error tells the writer what to write instead.
    @Test(arguments: [
        ("NaN", "write null in its place"), ("-Infinity", "write null in its place"), ("nan", "write null"),
        ("None", "write null"),
        ("undefined", "write null"), ("True", "write true"), ("'x'", "double quotes"),
        ("01", "this is not a JSON value"),
        ("1.", "not a JSON value"),
        ("-", "not a JSON value"), ("1e", "not a JSON value"), ("+1", "not a JSON value"), ("0x1", "not a JSON value"),
        ("", "there is no value"),
    ])
    func textsThatAreNotValuesAreNamed(_ value: String, _ says: String) throws {
        let error = try #require(throws: JSONText.SyntaxError.self) { try JSONText.members(of: "{\"a\":\(value)}") }
        #expect(error.message.contains(says), "\(error)")
    }

    @Test(arguments: ["0", "-0", "7", "-12.5", "1e5", "1E+5", "0.1e-7", "12345678901234567890123"])
    func numbers(_ number: String) throws {
        #expect(try JSONText.members(of: "{\"a\": \(number) }").first?.value == Array(number.utf8))
    }

    @Test func bytesThatAreNoUTF8AreAnErrorInAName() {
        let bytes = Array("{\"".utf8) + [0xC3, 0x28] + Array("\":1}".utf8)
        #expect(throws: JSONText.SyntaxError.self) { try JSONText.members(of: bytes) }
    }

    @Test func deepNestingDoesNotCrash() throws {
        let depth = 100_000
        for (open, close) in [("[", "]"), (#"{"a":"#, "}"), (#"[{"a":["#, "]}]")] {
            let value = String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
            let member = try #require(try JSONText.members(of: "{\"deep\":\(value)}").first)
            #expect(member.value == Array(value.utf8))
            #expect(throws: JSONText.SyntaxError.self) { try JSONText.members(of: "{\"deep\":\(value.dropLast())}") }
            #expect(throws: JSONText.SyntaxError.self) {
                try JSONText.members(of: "{\"deep\":\(String(repeating: open, count: depth))")
            }
        }
    }

    /// The text of a member as Postgres reads it: an actor must be shown as it is in the tables.
    @Test(
        arguments: [
            (#"{"actor":"ada"}"#, "ada"), (#"{"actor":"ada","actor":"eve"}"#, "eve"),
            (#"{"\u0061ctor":"\u00e9"}"#, "é"),
            (#"{"actor":"ada","actor":null}"#, nil), (#"{"actor":7}"#, nil), (#"{"other":"x"}"#, nil), ("{}", nil),
            ("[", nil),
        ] as [(String, String?)])
    func textOfAMember(_ json: String, _ text: String?) { #expect(JSONText.text("actor", in: json) == text) }
}
