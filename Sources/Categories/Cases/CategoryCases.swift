import EventStore
package import LedgerCore
import Postgres

/// Runs the cases of categories.
///
/// A case is `{"about": "…", "events": [{"category"?, "stream", "type", "data"?, "refused"?}]}`.
/// Its events are appended in order to a scratch ledger that is rolled back. An event with
/// `refused` must be refused with that code, and every other must be accepted.
package struct CategoryCases: Sendable {
    package struct Outcome: Sendable {
        package let category: LedgerName
        package let file: String
        /// What the case is about; empty if it cannot be read.
        package let about: String
        /// What differs, one line for each problem; empty if the case holds.
        package let problems: [String]
    }

    private let definitions: [CategoryDefinition]
    private let tested: [CategoryDefinition]

    /// - Parameters:
    ///   - definitions: all categories, since cases and references may name any of them.
    ///   - names: those whose cases are run; all of them if there is none.
    package init(_ definitions: [CategoryDefinition], testing names: [LedgerName] = []) {
        self.definitions = definitions
        tested = names.isEmpty ? definitions : definitions.filter { names.contains($0.name) }
    }

    package func run(url: String) async throws -> [Outcome] {
        try await ScratchLedger.with(url: url, for: "jobledger categories") { ledger in
            try await CategoryInstall(definitions).apply(on: ledger.connection)
            var outcomes: [Outcome] = []
            for definition in tested {
                for (file, text) in definition.cases {
                    outcomes.append(try await run(text, file: file, of: definition, in: ledger))
                }
            }
            return outcomes
        }
    }

    private func run(
        _ text: String, file: String, of definition: CategoryDefinition, in ledger: ScratchLedger
    ) async throws -> Outcome {
        let category = definition.name
        let given: CategoryCase
        do {
            given = try CategoryCase(reading: text, file: file, of: category)
        } catch {
            return Outcome(
                category: category, file: file, about: "",
                problems: ["\(error.pointer.tokens.isEmpty ? "" : "\(error.pointer): ")\(error.reason)"])
        }
        let problems = try await ledger.rolledBack {
            var problems: [String] = []
            for (index, event) in given.events.enumerated() {
                let answer = try await append(event, in: ledger)
                guard answer?.code != event.refused else { continue }
                let got = answer.map { "it was refused with \($0.code ?? "another error"): \($0.message)" }
                let expected = event.refused.map { "it should be refused with \($0)" } ?? "it should be accepted"
                problems.append(
                    "event \(index + 1) (\(event.stream), \(event.type)): \(got ?? "it was accepted"); \(expected)")
            }
            return problems
        }
        return Outcome(category: category, file: file, about: given.about, problems: problems)
    }

    /// What the ledger says to an event; `nil` if it accepts it. A refused one leaves nothing.
    private func append(
        _ event: CategoryCase.Event, in ledger: ScratchLedger
    ) async throws -> (code: ExactText?, message: String)? {
        try await ledger.connection.execute(script: "SAVEPOINT before_event")
        do {
            try await ledger.connection.query(
                "SELECT * FROM append_event($1, $2, $3::json, category => $4)", event.stream.text, event.type.text,
                event.data, event.category.text)
        } catch let error as PostgresError where error.kind == .server && !error.isConnectionFailure {
            try await ledger.connection.execute(script: "ROLLBACK TO before_event; RELEASE before_event")
            return (error.sqlState.flatMap { RefusalCodes.code(of: $0.code) }, error.message)
        }
        try await ledger.connection.execute(script: "RELEASE before_event")
        return nil
    }
}
