import LedgerCore
import Testing

@testable import Categories

/// Whatever is outside of the subset is refused, with its place.
@Suite struct SchemaReadingTests {
    @Test(arguments: [
        ("[]", "", "must be an object"), ("true", "", "must be an object"),
        (#"{"oneOf":[]}"#, "/oneOf", "is not a word of the schemas"),
        (#"{"$ref":"a"}"#, "/$ref", "is not a word of the schemas"),
        (#"{"exclusiveMinimum":1}"#, "/exclusiveMinimum", "is not a word of the schemas"),
        (#"{"Type":"string"}"#, "/Type", "is not a word of the schemas"),
        (#"{"type":"text"}"#, "/type", "one of object, array, string"), (#"{"type":[]}"#, "/type", "name one"),
        (#"{"type":["string","string"]}"#, "/type/1", "appears twice"),
        (#"{"type":["string","text"]}"#, "/type/1", "one of object, array, string"),
        (#"{"required":"a"}"#, "/required", "must be an array"),
        (#"{"required":["a","a"]}"#, "/required/1", "appears twice"),
        (#"{"properties":{"a":true}}"#, "/properties/a", "must be an object"),
        (#"{"properties":{"a":{"maxLenght":1}}}"#, "/properties/a/maxLenght", "is not a word"),
        (#"{"properties":{"a":{},"a":{}}}"#, "/properties/a", "appears twice"),
        (#"{"additionalProperties":{}}"#, "/additionalProperties", "only be true or false"),
        (#"{"minLength":-1}"#, "/minLength", "an integer from 0"), (#"{"maxLength":1.5}"#, "/maxLength", "an integer"),
        (#"{"maxItems":2147483648}"#, "/maxItems", "an integer from 0 to 2147483647"),
        (#"{"minimum":"1"}"#, "/minimum", "must be a number"), (#"{"format":"ipv4"}"#, "/format", "one of date"),
        (#"{"items":[{}]}"#, "/items", "must be an object"), (#"{"items":{"x":1}}"#, "/items/x", "is not a word"),
        (#"{"enum":[]}"#, "/enum", "name one at least"), (#"{"enum":[1,1.0]}"#, "/enum/1", "appears twice"),
        (#"{"anyOf":[]}"#, "/anyOf", "one alternative at least"),
        (#"{"anyOf":[{"type":"object"}]}"#, "/anyOf/0", "must be {\"required\": [keys]}"),
        (#"{"anyOf":[{"required":["a"],"title":"b"}]}"#, "/anyOf/0", "must be {\"required\": [keys]}"),
        (#"{"title":5}"#, "/title", "a text, in quotes"),
        (#"{"pattern":"(a)\\1"}"#, "/pattern", "back reference"),
        (#"{"pattern":"a(?=b)"}"#, "/pattern", "looks ahead"), (#"{"pattern":"(?<!a)b"}"#, "/pattern", "looks ahead"),
        (#"{"pattern":"a\u0000"}"#, "/pattern", "a null character"),
    ])
    func refuses(_ schema: String, _ pointer: String, _ reason: String) throws {
        let problem = try #require(throws: CategoryProblem.self) { try Given.schema(schema) }
        #expect(problem.pointer.description == "/data/t" + pointer)
        #expect(problem.reason.contains(reason), "\(problem)")
    }

    @Test func readsEveryWord() throws {
        let definition = try Given.schema(
            #"""
            {"type": "object", "title": "t", "description": "d", "$comment": "c", "required": ["a"],
             "additionalProperties": true, "anyOf": [{"required": ["a", "b"]}, {"required": ["c"]}],
             "properties": {
               "a": {"type": ["string", "null"], "minLength": 1.0, "maxLength": 2, "pattern": "\\\\1", "format": "uri"},
               "b": {"enum": [1, null, {"x": [2]}], "const": 1},
               "c": {"type": "array", "items": {"minimum": -1.5, "maximum": 1e2}, "minItems": 1, "maxItems": 2}}}
            """#)
        let schema = try #require(definition.schema(of: "t"))
        #expect(!schema.isClosed && schema.anyOf == [["a", "b"], ["c"]])
        let a = try #require(schema.property("a"))
        // A backslash before a backslash is no back reference.
        #expect(a.minLength == 1 && a.maxLength == 2 && a.pattern == "\\\\1" && a.format == .uri)
        #expect(schema.property("b")?.values?.map(\.canonical) == ["1", "null", #"{"x":[2]}"#])
        guard case .each(let items)? = schema.property("c")?.items else {
            Issue.record("no items")
            return
        }
        #expect(items.minimum?.description == "-1.5" && items.maximum?.description == "100")
    }

    @Test func limitsTheDepth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: #"{"items":"#, count: depth - 1) + "{}" + String(repeating: "}", count: depth - 1)
        }
        _ = try Given.schema(nested(DataSchema.deepest))
        let problem = try #require(throws: CategoryProblem.self) { try Given.schema(nested(DataSchema.deepest + 1)) }
        #expect(problem.reason.contains("more than 16 levels deep"))
        let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        #expect(throws: CategoryProblem.self) { try Given.schema(#"{"const":\#(deep)}"#) }
    }
}
