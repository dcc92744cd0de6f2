import Foundation
import LedgerTesting

/// The Python environment that `scripts/test-tools` makes, with the client libraries that are
/// tested.
enum PythonTools {
    static func python() async throws -> Program {
        let tools = try await Program(path: Repository.root.appending(path: "scripts/test-tools").path).run(
            [], within: .seconds(300))
        guard tools.code == 0 else { throw ProgramTrouble(description: "scripts/test-tools: \(tools)") }
        return Program(path: Repository.root.appending(path: ".build/python/bin/python").path)
    }
}
