import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

@testable import Categories

@Suite struct BuiltInTests {
    @Test func areConsistentAndHaveCasesAndAReadme() throws {
        let definitions = try CategoryDefinition.all()
        #expect(definitions.map(\.name.text) == ["backtest", "job", "strategy", "user"])
        for definition in definitions {
            #expect(!definition.cases.isEmpty, "\(definition.name) has no cases")
            let refused = definition.cases.contains { $0.text.contains("\"refused\"") }
            #expect(refused, "no case of \(definition.name) shows a refusal")
            let readme = Repository.root.appending(path: "categories/\(definition.name)/README.md")
            #expect(FileManager.default.fileExists(atPath: readme.path))
        }
    }

    @Test func areInstalledBehindWhatTheyReferTo() throws {
        let ordered = CategoryDefinition.inOrderOfReferences(try CategoryDefinition.all()).map(\.name.text)
        let (user, strategy, backtest) = (
            ordered.firstIndex(of: "user")!, ordered.firstIndex(of: "strategy")!, ordered.firstIndex(of: "backtest")!
        )
        #expect(user < strategy && strategy < backtest)
    }

    @Test func aFolderAddsAndReplaces() async throws {
        try await withDirectory { directory in
            let path = directory.path
            _ = try NewCategory(LedgerName("mine")!).write(in: path)
            _ = try NewCategory(LedgerName("strategy")!).write(in: path)
            let all = try CategoryDefinition.all(in: path)
            #expect(all.map(\.name.text) == ["backtest", "job", "mine", "strategy", "user"])
            #expect(all.first { $0.name.text == "strategy" }?.firstTypes == ["opened"])
            #expect(throws: NewDefinition.Taken.self) { try NewCategory(LedgerName("mine")!).write(in: path) }
        }
    }

    @Test func jobsCannotBeReplaced() async throws {
        try await withDirectory { directory in
            _ = try NewCategory(LedgerName("job")!).write(in: directory.path)
            let problem = try #require(throws: CategoryProblem.self) {
                try CategoryDefinition.all(in: directory.path)
            }
            #expect(problem.reason.contains("part of the ledger"))
        }
    }

    @Test func whatCannotBeReadIsAnError() async throws {
        let missing = try #require(throws: DefinitionFolder.Unreadable.self) {
            try CategoryDefinition.all(in: "/no/such")
        }
        #expect(missing.description.contains("--categories /no/such: no such folder; jobledger categories new NAME"))
        try await withDirectory { directory in
            let files = FileManager.default
            try files.createDirectory(
                at: directory.appending(path: "mine"), withIntermediateDirectories: true)
            try files.createSymbolicLink(
                atPath: directory.appending(path: "mine/category.json").path, withDestinationPath: "/no/such")
            let link = try #require(throws: DefinitionFolder.Unreadable.self) {
                try CategoryDefinition.all(in: directory.path)
            }
            #expect(link.description.contains("mine/category.json cannot be read: it is a link to nothing"))
        }
    }
}
