import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Categories

@Suite struct ConsistencyTests {
    private static func problems(_ definitions: CategoryDefinition...) -> [CategoryProblem] {
        CategoryConsistency(definitions, knowing: ["user"]).problems
    }

    @Test func theGivenCategoryIsConsistent() throws {
        #expect(Self.problems(try Given.read(Given.ticket)) == [])
    }

    /// Each contradiction is found at its place, and nothing else is.
    @Test(arguments: [
        (#""": ["opened"],"#, "", "/life", "there is no \"\""),
        (#""": ["opened"]"#, #""": []"#, "/life/", "no stream can ever begin"),
        (#""changed": ["#, #""changed": ["gone", "#, "/life/changed/0", "is no type of this category"),
        (#""opened": ["changed", "closed"],"#, #""opened": ["closed"],"#, "/life/changed", "ever gets to \"changed\""),
        (#""removes": ["closed"]"#, #""removes": ["gone"]"#, "/removes/0", "is no type of this category"),
        (#""removes": ["closed"]"#, #""removes": ["opened"]"#, "/removes/0", "must have no successors"),
        (#""data": {"#, #""data": {"gone": {},"#, "/data/gone", "is no type of this category"),
        (
            #"[{"key": "title"}]"#, #"[{"key": "titel"}]"#, "/unique/0/key",
            "no schema of this category has the property"
        ),
        (#"[{"key": "title"}]"#, #"[{"key": "count"}]"#, "/unique/0/key", "something else than a text"),
        (#"[{"key": "title"}]"#, #"[{"key": "title"}, {"key": "title"}]"#, "/unique/1", "appears twice"),
        (#""key": "owner""#, #""key": "ownr""#, "/references/0/key", "no schema of this category has the property"),
        (#""category": "user""#, #""category": "usr""#, "/references/0/category", "there is no category"),
        (
            #""other": "from""#, #""other": "form""#, "/not_before/0/other",
            "no schema of this category has the property"
        ),
        (#""other": "from""#, #""other": "title""#, "/not_before/0", "cannot be compared"),
        (#""personal": ["owner"]"#, #""personal": ["adress"]"#, "/personal/0", "no schema of this category"),
        (#""required": ["title"]"#, #""required": ["tilte"]"#, "/data/opened/required/0", "forbids it"),
        (
            #""required": ["title"]"#, #""anyOf": [{"required": ["x"]}]"#, "/data/opened/anyOf/0/required/0",
            "forbids it"
        ),
        (
            #""minLength": 1"#, #""minLength": 21"#, "/data/opened/properties/title/minLength",
            "at least 21 and at most 20"
        ),
        (
            #""minimum": 0"#, #""minimum": 10.5"#, "/data/opened/properties/count/minimum",
            "at least 10.5 and at most 10"
        ),
        (#"["new", "old"]"#, #"["new", 5], "type": "string""#, "/data/opened/properties/state/enum/1", "excluded by"),
        (#"["new", "old"]"#, #"["new"], "const": "old""#, "/data/opened/properties/state/const", "is not in \"enum\""),
    ])
    func finds(_ part: String, _ replacement: String, _ pointer: String, _ reason: String) throws {
        let problems = Self.problems(try Given.ticket(part, replacement))
        #expect(problems.map(\.pointer.description) == [pointer], "\(problems)")
        #expect(problems.allSatisfy { $0.reason.contains(reason) && $0.file == "category.json" }, "\(problems)")
    }

    /// Schemas that no value has, or with words that exclude each other.
    @Test(arguments: [
        (#"{"type":"array"}"#, "/type", "data are always an object"),
        (#"{"properties":{"a":{"minItems":2,"maxItems":1}}}"#, "/properties/a/minItems", "no array has"),
        (
            #"{"properties":{"a":{"format":"uuid","maxLength":35}}}"#, "/properties/a/maxLength",
            "at least 36 characters"
        ),
        (#"{"properties":{"a":{"format":"date","minLength":11}}}"#, "/properties/a/minLength", "at most 10 characters"),
        (#"{"properties":{"a":{"type":"integer","const":1.5}}}"#, "/properties/a/const", "is excluded by \"type\""),
        (#"{"properties":{"a":{"maxLength":2,"enum":["ab","abc"]}}}"#, "/properties/a/enum/1", "has 3 characters"),
        (#"{"properties":{"a":{"minimum":2,"const":1}}}"#, "/properties/a/const", "is below \"minimum\", 2"),
        (#"{"properties":{"a":{"required":["x"],"const":{}}}}"#, "/properties/a/const", "lacks \"x\""),
        (#"{"properties":{"a":{"items":{"maximum":1,"enum":[2]}}}}"#, "/properties/a/items/enum/0", "is above"),
        (
            #"{"properties":{"a":{"additionalProperties":false,"required":["x"]}}}"#, "/properties/a/required/0",
            "forbids"
        ),
    ])
    func findsContradictionsOfSchemas(_ schema: String, _ pointer: String, _ reason: String) throws {
        let problems = Self.problems(try Given.schema(schema))
        #expect(problems.map(\.pointer.description) == ["/data/t" + pointer], "\(problems)")
        #expect(problems.allSatisfy { $0.reason.contains(reason) }, "\(problems)")
    }

    /// 1.0 is an integer, and an open schema may have any key.
    @Test(arguments: [
        #"{"properties":{"a":{"type":"integer","const":1.0}}}"#, #"{"required":["x"]}"#,
        #"{"properties":{"a":{"type":"number","enum":[1,1.5]}}}"#, "{}",
    ])
    func isQuietAboutTheRest(_ schema: String) throws { #expect(Self.problems(try Given.schema(schema)) == []) }

    private static func referring(_ name: String, to others: [String], required: Bool = false) throws
        -> CategoryDefinition
    {
        let references = others.map { #"{"key":"\#($0)_id","category":"\#($0)"}"# }.joined(separator: ",")
        let properties = others.map { #""\#($0)_id":{"type":"string"}"# }.joined(separator: ",")
        let keys = required ? others.map { "\"\($0)_id\"" }.joined(separator: ",") : ""
        return try Given.read(
            #"""
            {"name":"\#(name)","life":{"":["t"],"t":[]},"references":[\#(references)],
             "data":{"t":{"required":[\#(keys)],"properties":{\#(properties)}}}}
            """#, name: name)
    }

    @Test func findsCirclesOfReferences() throws {
        let circle = [
            try Self.referring("a", to: ["b"]), try Self.referring("b", to: ["c"]), try Self.referring("c", to: ["a"]),
            try Self.referring("d", to: ["a"]),
        ]
        let problems = CategoryConsistency(circle).problems
        #expect(problems.count == 1 && problems[0].reason.contains("in a circle"), "\(problems)")
        #expect(["a", "b", "c"].contains(problems.first?.category))
        let line = [
            try Self.referring("a", to: ["b"]), try Self.referring("b", to: []),
            try Self.referring("c", to: ["a", "b"]),
        ]
        #expect(CategoryConsistency(line).problems == [])
        #expect(CategoryDefinition.inOrderOfReferences(line).map(\.name.text) == ["b", "a", "c"])
    }

    @Test func aStreamMayReferToItsOwnCategoryUnlessTheFirstMust() throws {
        #expect(CategoryConsistency([try Self.referring("a", to: ["a"])]).problems == [])
        let problems = CategoryConsistency([try Self.referring("a", to: ["a"], required: true)]).problems
        #expect(problems.map(\.pointer.description) == ["/references/0/key"])
        #expect(problems.first?.reason.contains("no stream could ever be the first") == true)
    }

    @Test func theServerReadsThePatterns() async throws {
        let definition = try Given.schema(
            #"""
            {"properties": {"a": {"pattern": "^it's \\$\\$ é$"}, "b/c": {"items": {"pattern": "(open"}},
             "d": {"pattern": "[z-a]"}}}
            """#
        )
        try await TestLedger.with(connections: 1) { ledger in
            let connection = try await ledger.connect()
            let problems = try await connection.discardedTransaction {
                let problems = try await PatternCheck.problems(of: [definition], on: $0)
                // The transaction is still usable.
                try await $0.query("SELECT 1")
                return problems
            }
            await connection.close()
            #expect(
                problems.map(\.pointer.description) == [
                    "/data/t/properties/b~1c/items/pattern", "/data/t/properties/d/pattern",
                ])
            #expect(problems.first?.reason.contains("parentheses () not balanced") == true, "\(problems)")
        }
    }
}
