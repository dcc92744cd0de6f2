import LedgerCore
import Testing

@testable import Categories

/// Documents that are read, changed and written.
@Suite struct JSONTreeTests {
    @Test func keepsTheOrderOfMembers() throws {
        let text = #"{"b":1,"a":[true,null,{"d":"é\"\n","c":1.5}],"":{}}"#
        let tree = try JSONTree(reading: text, file: "x.json")
        #expect(tree.text == text)
        #expect(tree.canonical == #"{"":{},"a":[true,null,{"c":1.5,"d":"é\"\n"}],"b":1}"#)
        #expect(tree.members.map(\.name) == ["b", "a", ""] && tree["a"]?.elements.count == 3)
        #expect(tree["z"] == nil && tree["b"]?["z"] == nil)
        #expect(throws: CategoryProblem.self) { try JSONTree(reading: #"{"a":1,"a":2}"#, file: "x.json") }
    }

    @Test func membersAreReplacedAddedAndRemoved() throws {
        var tree: JSONTree = ["b": "one", "a": ["x", true]]
        tree["b"] = ["new": false]
        tree["c"] = "\(2 + 1)"
        #expect(tree.text == #"{"b":{"new":false},"a":["x",true],"c":"3"}"#)
        tree["a"] = nil
        tree["none"] = nil
        tree[within: "b"][within: "deep"]["er"] = "here"
        #expect(tree.text == #"{"b":{"new":false,"deep":{"er":"here"}},"c":"3"}"#)
    }
}
