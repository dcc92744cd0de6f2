import LedgerCore
import LedgerTesting
import Testing

@testable import Categories

/// What a caller is told: the key, the rule and the value.
@Suite struct MessageTests {
    private static let schema = #"""
        {"required": ["name"], "anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}, {"required": ["name"]}],
         "additionalProperties": false,
         "properties": {
           "name": {"type": "string", "minLength": 1, "maxLength": 255},
           "a": {"type": ["integer", "null"], "minimum": 0},
           "b": {"enum": ["x", 1, null]}, "c": {"const": {"k": 1}},
           "code": {"type": "string", "pattern": "^[A-Z']{3}$"},
           "on": {"type": "string", "format": "date"}, "at": {"format": "date-time"}, "id": {"format": "uuid"},
           "mail": {"format": "email"}, "url": {"format": "uri"}, "ratio": {"type": "number", "maximum": 0.5},
           "inner": {"type": "object", "required": ["x"], "properties": {"x": {"type": "boolean"}},
                     "additionalProperties": false},
           "list": {"type": "array", "minItems": 1, "maxItems": 2,
                    "items": {"type": "array", "items": {"properties": {"it's": {"type": "null"}}}}}
         }}
        """#

    @Test func sayKeyRuleAndValue() async throws {
        let long = String(repeating: "é", count: 256)
        let cases: [(String, String?)] = [
            (#"{"name": "x"}"#, nil),
            ("{}", #""name" is missing: it must be a text of 1 to 255 characters"#),
            (#"{"name": ""}"#, #""name" must have 1 to 255 characters, not """#),
            (#"{"name": "\#(long.dropLast())"}"#, nil),
            (#"{"name": "\#(long)"}"#, #""name" must have 1 to 255 characters, not "\#(long.prefix(59))…"#),
            (#"{"name": null}"#, #""name" must be a text of 1 to 255 characters, not null"#),
            (#"{"name": "x", "a": 1.5}"#, #""a" must be an integer of at least 0 or null, not 1.5"#),
            (#"{"name": "x", "a": -1}"#, #""a" must be at least 0, not -1"#),
            (#"{"name": "x", "a": 1.0}"#, nil),
            (#"{"name": "x", "b": 2}"#, #""b" must be "x", 1 or null, not 2"#),
            (#"{"name": "x", "c": {"k": 2}}"#, #""c" must be {"k":1}, not {"k": 2}"#),
            (#"{"name": "x", "c": {"k": 1.0}}"#, nil),
            (#"{"name": "x", "code": "abc"}"#, #""code" must match the pattern ^[A-Z']{3}$, not "abc""#),
            (#"{"name": "x", "on": "2026-02-29"}"#, #""on" must be a date such as 2026-01-31, not "2026-02-29""#),
            (#"{"name": "x", "at": "2026-01-31"}"#, #""at" must be a time with its zone such as 2026-01-31T12:00:00Z"#),
            (#"{"name": "x", "at": 5}"#, nil),
            (#"{"name": "x", "id": "5"}"#, #""id" must be a UUID, not "5""#),
            (#"{"name": "x", "mail": "@"}"#, #""mail" must be an email address, not "@""#),
            (#"{"name": "x", "url": "x"}"#, #""url" must be an address with its scheme such as https://example.org"#),
            (#"{"name": "x", "ratio": 0.51}"#, #""ratio" must be at most 0.5, not 0.51"#),
            (#"{"name": "x", "nmae": 1}"#, #""nmae" is not known; known are "name", "a""#),
            (#"{"name": "x", "inner": {}}"#, #""inner"."x" is missing: it must be true or false"#),
            (#"{"name": "x", "inner": {"x": true, "y": 1}}"#, #""inner": "y" is not known; known are "x""#),
            (#"{"name": "x", "list": []}"#, #""list" must have 1 to 2 elements, not 0"#),
            (#"{"name": "x", "list": [[], 5]}"#, #""list"[1] must be an array, not 5"#),
            (
                #"{"name": "x", "list": [[{}], [{}, 5, {"it's": "z"}]]}"#,
                #""list"[1][2]."it's" must be null, not "z""#
            ),
            ("[]", "data must be a JSON object, not []"),
        ]
        try await TestLedger.with(connections: 1) { ledger in
            let definition = try Given.schema(Self.schema)
            let problems = try await CompiledCheck.with(ledger, definition) { check in
                try await check.problems("t", cases.map(\.0))
            }
            for ((data, expected), problem) in zip(cases, problems) {
                if let expected {
                    #expect(problem?.hasPrefix(expected) == true, "\(data): \(problem ?? "nothing")")
                } else {
                    #expect(problem == nil, "\(data)")
                }
            }
            let type = try await CompiledCheck.with(ledger, definition) { try await $0.problem("o'ther", "{}") }
            #expect(type == "'o''ther' is not a type of the category ticket; use t")
        }
    }

    /// Refusals are recorded, so they say what is wrong with a personal value, and not the value.
    @Test func leaveOutWhatIsPersonal() async throws {
        let definition = try Given.read(
            #"""
            {"name": "ticket", "life": {"": ["t"], "t": []}, "personal": ["mail", "home", "born", "list"],
             "not_before": [{"key": "left", "other": "born"}, {"key": "born", "other": "made"}],
             "data": {"t": {"additionalProperties": false, "properties": {
               "mail": {"type": "string", "maxLength": 5, "format": "email"}, "plain": {"type": "string"},
               "home": {"type": "object", "required": ["town"], "additionalProperties": false,
                        "properties": {"town": {"type": "string", "pattern": "^[A-Z]"}, "mail": {"const": 1}}},
               "list": {"type": "array", "maxItems": 2, "items": {"enum": ["a", "b"]}},
               "inner": {"properties": {"mail": {"type": "string"}}},
               "born": {"type": "string", "format": "date"}, "left": {"type": "string", "format": "date"},
               "made": {"type": "string", "format": "date"}}}}}
            """#)
        let cases = [
            (#"{"mail": 7}"#, #""mail" must be an email address"#),
            (#"{"mail": "secret"}"#, #""mail" must have at most 5 characters"#),
            (#"{"mail": "ada"}"#, #""mail" must be an email address"#),
            (#"{"home": "secret"}"#, #""home" must be an object"#),
            (#"{"home": {}}"#, #""home"."town" is missing: it must be a text"#),
            (#"{"home": {"town": "secret"}}"#, #""home"."town" must match the pattern ^[A-Z]"#),
            (#"{"home": {"town": "T", "mail": "secret"}}"#, #""home"."mail" must be 1"#),
            (#"{"home": {"town": "T", "secret": 1}}"#, #""home": a member is not known; known are "town" and "mail""#),
            (#"{"list": ["a", "secret"]}"#, #""list"[1] must be "a" or "b""#),
            (#"{"list": ["a", "b", "a"]}"#, #""list" must have at most 2 elements, not 3"#),
            (
                #"{"born": "2026-02-01", "left": "2026-01-31"}"#,
                #""left" must not be before "born", but is "2026-01-31""#
            ),
            (
                #"{"born": "2026-02-01", "made": "2026-02-02"}"#,
                #""born" must not be before "made", which is "2026-02-02""#
            ),
            // Of the same name elsewhere, and what is not personal.
            (#"{"inner": {"mail": 7}}"#, #""inner"."mail" must be a text, not 7"#),
            (#"{"plain": 7}"#, #""plain" must be a text, not 7"#),
        ]
        try await TestLedger.with(connections: 1) { ledger in
            let problems = try await CompiledCheck.with(ledger, definition) {
                try await $0.problems("t", cases.map(\.0))
            }
            for ((data, expected), problem) in zip(cases, problems) { #expect(problem == expected, "\(data)") }
        }
    }

    @Test func alternativesAreNamed() async throws {
        let schema = #"{"anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}]}"#
        try await TestLedger.with(connections: 1) { ledger in
            let problems = try await CompiledCheck.with(ledger, try Given.schema(schema)) {
                try await $0.problems("t", [#"{"b": 1}"#, #"{"b": 1, "c": null}"#, #"{"a": null}"#])
            }
            #expect(problems == [#"data must have "a" or "b" and "c""#, nil, nil])
        }
    }

    @Test func datesAndTimesAreCompared() async throws {
        let cases = [
            (#"{"from": "2026-01-31", "to": "2026-01-31"}"#, true),
            (#"{"from": "2026-02-01", "to": "2026-01-31"}"#, false),
            (#"{"from": "0999-01-01", "to": "1000-01-01"}"#, true), (#"{"from": "2026-02-01"}"#, true),
            (#"{"from": "2026-02-01", "to": null}"#, true),
            (#"{"from": "2026-01-01T12:00:00Z", "to": "2026-01-01T13:59:59+02:00"}"#, false),
            (#"{"from": "2026-01-01T12:00:00Z", "to": "2026-01-01T14:00:00+02:00"}"#, true),
            (#"{"from": "2026-01-01T12:00:00.10Z", "to": "2026-01-01T12:00:00.1Z"}"#, true),
            (#"{"from": "2026-01-01T12:00:00.1Z", "to": "2026-01-01T12:00:00.0999999999999Z"}"#, false),
            // Not of one kind: there is nothing to compare.
            (#"{"from": "2026-02-01", "to": "2026-01-01T12:00:00Z"}"#, true), (#"{"from": 5, "to": []}"#, true),
        ]
        let definition = try Given.read(
            #"{"name":"ticket","life":{"":["t"],"t":[]},"not_before":[{"key":"to","other":"from"}]}"#)
        try await TestLedger.with(connections: 1) { ledger in
            let problems = try await CompiledCheck.with(ledger, definition) {
                try await $0.problems("t", cases.map(\.0))
            }
            for ((data, holds), problem) in zip(cases, problems) {
                #expect((problem == nil) == holds, "\(data): \(problem ?? "nothing")")
            }
            #expect(
                problems[1] == #""to" must not be before "from", which is "2026-02-01", but is "2026-01-31""#)
        }
    }

    /// Also of texts that are as large as data can be, and of patterns that are slow elsewhere.
    @Test func takeBoundedTime() async throws {
        let schema = #"""
            {"properties": {"a": {"pattern": "^(a+)+$"}, "b": {"format": "email"}, "c": {"format": "date-time"},
             "d": {"pattern": "(x|xx)*y"}}}
            """#
        let letters = String(repeating: "a", count: 2_000_000)
        let data =
            #"{"a": "\#(letters)!", "b": "\#(letters)@", "c": "2026-01-01T00:00:00.\#(letters)", "d": "\#(letters)"}"#
        try await TestLedger.with(connections: 1) { ledger in
            let begin = ContinuousClock.now
            let problem = try await CompiledCheck.with(ledger, try Given.schema(schema)) {
                try await $0.problem("t", data)
            }
            #expect(problem?.hasPrefix(#""a" must match"#) == true)
            #expect(ContinuousClock.now - begin < .seconds(30))
        }
    }
}
