import LedgerCore
import LedgerTesting
import Testing

@testable import Categories

@Suite struct RandomSchemaTests {
    private struct Difference: CustomStringConvertible {
        let schema: String
        let value: String
        let isValid: Bool
        let problem: String?

        var description: String {
            "\(schema) and \(value): \(isValid ? "valid" : "invalid"), but the server says \(problem ?? "nothing")"
        }
    }

    private static let settings = """
        SET LOCAL standard_conforming_strings = off; SET LOCAL escape_string_warning = off;
        SET LOCAL "DateStyle" = 'German, DMY'; SET LOCAL "TimeZone" = 'Asia/Tokyo'; SET LOCAL bytea_output = 'escape'
        """

    /// The compiled function and an independent evaluator come to the same verdict about thousands
    /// of random values, and the function never raises an error. The settings of a session, by
    /// which Postgres reads and writes texts, make no difference.
    @Test func theServerAgreesWithTheSpecification() async throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = RandomSchemas(seed: seed)
        let evaluator = SchemaEvaluator(patterns: RandomSchemas.patterns)
        var (valid, total) = (0, 0)
        try await TestLedger.with(connections: 1) { ledger in
            for round in 0..<60 {
                let schema = random.root()
                let values = (0..<100).map { _ in
                    random.happens(10) ? random.value(depth: 0) : random.value(like: schema)
                }
                let texts = values.map(\.canonical)
                let problems: [String?]
                do {
                    let definition = try Given.schema(schema.canonical)
                    problems = try await CompiledCheck.with(ledger, definition) { try await $0.problems("t", texts) }
                    if round % 10 == 0 {
                        let others = try await CompiledCheck.with(ledger, definition, settings: Self.settings) {
                            try await $0.problems("t", texts)
                        }
                        #expect(others == problems, "seed \(seed)")
                    }
                } catch {
                    Issue.record("seed \(seed): \(schema.canonical): \(error)")
                    continue
                }
                for (value, problem) in zip(values, problems) {
                    let isObject = if case .object = value { true } else { false }
                    let isValid = isObject && evaluator.isValid(value, schema)
                    total += 1
                    if isValid { valid += 1 }
                    if isValid != (problem == nil) {
                        let difference = Difference(
                            schema: schema.canonical, value: value.canonical, isValid: isValid, problem: problem)
                        Issue.record("seed \(seed): \(difference)")
                    }
                }
            }
        }
        // Values of one verdict alone would prove little.
        #expect(total == 6_000 && (1_000...5_000).contains(valid), "seed \(seed): \(valid) of \(total) are valid")
    }
}
