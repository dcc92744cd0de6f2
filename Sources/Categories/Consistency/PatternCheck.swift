import LedgerCore
package import Postgres

/// Has the server compile each pattern: Postgres alone knows what its regular expressions are.
package enum PatternCheck {
    private static let invalidRegularExpression = SQLState("2201B")

    /// The patterns that the server does not take, with its words.
    /// - Parameter connection: one in a transaction, which stays usable.
    package static func problems(
        of definitions: [CategoryDefinition], on connection: PostgresConnection
    ) async throws -> [CategoryProblem] {
        var problems: [CategoryProblem] = []
        for definition in definitions {
            for (pointer, pattern) in definition.patterns {
                try await connection.execute(script: "SAVEPOINT before_pattern")
                do {
                    try await connection.query("SELECT ''::text COLLATE \"C\" ~ $1::text", pattern)
                    try await connection.execute(script: "RELEASE before_pattern")
                } catch let error as PostgresError where error.sqlState == invalidRegularExpression {
                    try await connection.execute(script: "ROLLBACK TO before_pattern; RELEASE before_pattern")
                    problems.append(
                        definition.problem(at: pointer, "Postgres cannot read this pattern: \(error.message)"))
                }
            }
        }
        return problems
    }
}

extension CategoryDefinition {
    /// All patterns of the schemas, with their places.
    var patterns: [(pointer: JSONPointer, pattern: String)] {
        data.flatMap(\.schema.all).compactMap { schema in
            schema.pattern.map { (schema.pointer / "pattern", $0) }
        }
    }
}
