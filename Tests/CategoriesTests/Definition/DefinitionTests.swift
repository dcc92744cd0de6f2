import LedgerCore
import Testing

@testable import Categories

@Suite struct DefinitionTests {
    @Test func readsEveryPart() throws {
        let definition = try Given.read(Given.ticket)
        #expect(definition.types == ["opened", "changed", "closed"])
        #expect(definition.firstTypes == ["opened"])
        #expect(definition.successors(of: "changed") == ["changed", "closed"])
        #expect(definition.removes == ["closed"])
        #expect(definition.unique == [.init(key: "title", ignoringCase: false)])
        #expect(definition.references == [.init(key: "owner", category: "user")])
        #expect(definition.notBefore == [.init(key: "to", other: "from")])
        #expect(definition.personal == ["owner"])
        let schema = try #require(definition.schema(of: "opened"))
        #expect(schema.isClosed && schema.required == ["title"])
        #expect(schema.property("owner")?.kinds == [.string, .null])
        #expect(schema.property("from")?.format == .date)
    }

    /// What is refused, with the place and the reason.
    @Test(arguments: [
        (#""removes""#, #""remove""#, "/remove", "is not known here; known are name, life"),
        (#""removes": ["#, #""life": {}, "removes": ["#, "/life", "\"life\" appears twice"),
        (#""name": "ticket","#, "", "", "\"name\" and \"life\" must be there"),
        (#""name": "ticket""#, #""name": "tickets""#, "/name", "the folder's name, \"ticket\""),
        (#""name": "ticket""#, #""name": "My Ticket""#, "/name", "1 to 50 of a–z, 0–9 and _"),
        (#""name": "ticket""#, #""name": 5"#, "/name", "this must be a text, in quotes, not 5"),
        (#""closed": []"#, #""Closed": []"#, "/life/Closed", "begins with a letter"),
        (#""closed": []"#, #""closed": "opened""#, "/life/closed", "this must be an array"),
        (#"["changed", "closed"]"#, #"["closed", "closed"]"#, "/life/opened/1", "appears twice"),
        (#"{"key": "title"}"#, #"{"kye": "title"}"#, "/unique/0/kye", "known are key, ignoring_case"),
        (#"{"key": "title"}"#, #"{}"#, "/unique/0", "\"key\" is missing"),
        (#"{"key": "title"}"#, #"{"key": "title", "ignoring_case": 1}"#, "/unique/0/ignoring_case", "true or false"),
        (#", "category": "user""#, "", "/references/0", "\"category\" is missing"),
        (#""personal": ["owner"]"#, #""personal": "owner""#, "/personal", "this must be an array"),
        (#""personal": ["owner"]"#, #""personal": ["owner", "owner"]"#, "/personal/1", "appears twice"),
        (#""personal": ["owner"]"#, #""personal": ["a\u0000b"]"#, "/personal/0", "a null character"),
        (#""personal": ["owner"]"#, #""personal": ["\ud800"]"#, "/personal/0", "half a surrogate pair"),
        (#""maximum": 10"#, #""maximum": 1e999"#, "/data/opened/properties/count/maximum", "is out of range"),
        (#""maximum": 10"#, #""maximum": NaN"#, "", "this is no JSON object"),
        (#""maximum": 10"#, #""maximum": 10}}"#, "", "this is no JSON object"),
    ])
    func refuses(_ part: String, _ replacement: String, _ pointer: String, _ reason: String) throws {
        let problem = try #require(throws: CategoryProblem.self) { try Given.ticket(part, replacement) }
        #expect(problem.file == "category.json" && problem.category == "ticket")
        #expect(problem.pointer.description == pointer)
        #expect(problem.reason.contains(reason), "\(problem)")
    }

    @Test func refusesOtherFiles() throws {
        let missing = try #require(throws: CategoryProblem.self) {
            try CategoryDefinition(folder: "ticket", files: [:])
        }
        #expect(missing.description == "category ticket: category.json: the file is missing")
        let other = try #require(throws: CategoryProblem.self) {
            try CategoryDefinition(folder: "ticket", files: ["category.json": Given.ticket, "categoy.json": "{}"])
        }
        #expect(other.file == "categoy.json")
    }

    @Test func theHashIsThatOfTheContent() throws {
        let definition = try Given.read(Given.ticket)
        let spaced = try Given.read(Given.ticket.replacing("\n", with: " \n ").replacing(": 10", with: ": 10.0"))
        #expect(spaced.hash == definition.hash && spaced == definition)
        #expect(definition.hash.utf8.count == 64)
        #expect(try Given.ticket("\"maximum\": 10", "\"maximum\": 11").hash != definition.hash)
        #expect(try Given.ticket(#""removes": ["closed"],"#, "").hash != definition.hash)
    }

    @Test func aPointerIsEscaped() throws {
        let problem = try #require(throws: CategoryProblem.self) {
            try Given.schema(#"{"properties":{"a/b~c":{"typ":"string"}}}"#)
        }
        #expect(problem.pointer.description == "/data/t/properties/a~1b~0c/typ")
    }
}
