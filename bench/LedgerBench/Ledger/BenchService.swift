import EventStore
import LedgerServer

/// `jobledger serve` as another process, on a ledger of this run.
struct BenchService: Sendable {
    let port: Int
    let token: String
    let program: Program

    static func with<T: Sendable>(
        _ bench: Bench, _ ledger: BenchLedger, _ body: (BenchService) async throws -> T
    ) async throws -> T {
        let store = ledger.store(connections: 1)
        let token = try await TokenStore(store).create(Set(Scope.allCases), name: "bench")
        await store.close()
        return try await bench.withProgram(["serve", "--port", "0", "--json"], on: ledger.name) { program in
            try await program.says("\"url\"", within: .seconds(30))
            guard let port = program.printed().firstMatch(of: /127\.0\.0\.1:(\d+)/).flatMap({ Int($0.1) }) else {
                throw BenchFailure("the service did not print its address: \(program.printed())")
            }
            return try await body(BenchService(port: port, token: token.text, program: program))
        }
    }
}
