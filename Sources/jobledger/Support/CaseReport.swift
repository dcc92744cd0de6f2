/// Shows how the cases of definitions went, such as those of projections.
enum CaseReport {
    struct Outcome {
        /// The name of the definition.
        var definition: String
        var file: String
        /// What went wrong, one line for each problem; empty if the case holds.
        var problems: [String]
        var passed: Bool { problems.isEmpty }
    }

    /// - Parameter line: what `--json` says of a case.
    /// - Throws: `Failure.refused` if a case fails, or if there is none.
    static func show(_ outcomes: [Outcome], json: Bool, line: (Outcome) -> some Encodable) throws {
        for outcome in outcomes {
            if json {
                try Output.json(line(outcome))
            } else {
                try Output.line("\(outcome.passed ? "ok  " : "FAIL") \(outcome.definition)/cases/\(outcome.file)")
                for problem in outcome.problems { try Output.line("     \(problem)") }
            }
        }
        let failed = outcomes.count { !$0.passed }
        if !json {
            let held = outcomes.count - failed
            try Output.line(
                "\(held) \(held == 1 ? "case holds" : "cases hold"), \(failed) \(failed == 1 ? "does" : "do") not")
        }
        if failed > 0 { throw Failure.refused }
        if outcomes.isEmpty {
            Output.diagnostic("there are no cases")
            throw Failure.refused
        }
    }
}
