import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import Categories

/// The folder `categories/job` describes rules that are enforced by other SQL.
@Suite struct JobRulesTests {
    @Test func theFolderSaysWhatTheLedgerEnforces() async throws {
        let definition = try #require(try CategoryDefinition.all().first { $0.name.text == "job" })
        let seed = UInt64.random(in: 0 ... .max)
        var random = RandomSchemas(seed: seed)
        let tree = try JSONNode(reading: definition.canonical, category: "job", file: "category.json").tree
        try await TestLedger.with(connections: 1) { ledger in
            for type in definition.types {
                let schema = try #require(tree["data"]?[type])
                let values = (0..<400).map { _ in random.value(like: schema) }
                let data = values.filter { if case .object = $0 { true } else { false } }.map(\.canonical)
                let (compiled, enforced) = try await CompiledCheck.with(ledger, definition) { check in
                    let enforced = try await check.connection.query(
                        """
                        SELECT (check_data($1, value::jsonb)).problem
                          FROM unnest($2::text[]) WITH ORDINALITY AS given (value, place) ORDER BY place
                        """, type.text, data
                    ).map { try $0.decode(0, as: String?.self) }
                    return (try await check.problems(type.text, data), enforced)
                }
                for (index, value) in data.enumerated() {
                    #expect(
                        (compiled[index] == nil) == (enforced[index] == nil),
                        "seed \(seed): \(type) \(value): \(compiled[index] ?? "–"); \(enforced[index] ?? "–")")
                }
                #expect(enforced.contains { $0 == nil } && enforced.contains { $0 != nil }, "seed \(seed)")
            }
        }
    }

    @Test func itsLifeIsThatOfTheLedger() async throws {
        let definition = try #require(try CategoryDefinition.all().first { $0.name.text == "job" })
        try await TestLedger.with(connections: 1) { ledger in
            let connection = try await ledger.connect()
            for last in definition.life {
                for type in definition.types {
                    let refusal = try await connection.query(
                        "SELECT lifecycle_refusal($1, $2)", type.text, last.type?.text
                    )
                    .only().decode(0, as: String?.self)
                    #expect((refusal == nil) == last.next.contains(type), "\(last.type?.text ?? "") and \(type)")
                }
            }
            await connection.close()
        }
    }
}
