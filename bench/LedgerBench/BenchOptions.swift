/// What to measure, and for how long.
package struct BenchOptions: Sendable {
    /// Measure only rows whose text contains this.
    package var only: String?
    /// The rounds per row; by default as many as the row's length allows.
    package var rounds: Int?
    /// Use small sizes, to check that everything runs. The figures mean nothing.
    package var quick: Bool
    /// The directory for the servers' data during the run; by default the temporary directory.
    package var dataDirectory: String?

    package init(only: String? = nil, rounds: Int? = nil, quick: Bool = false, dataDirectory: String? = nil) {
        self.only = only
        self.rounds = rounds
        self.quick = quick
        self.dataDirectory = dataDirectory
    }

    func wants(_ work: String) -> Bool { only.map { work.lowercased().contains($0.lowercased()) } ?? true }

    func rounds(_ usual: Int) -> Int { rounds ?? (quick ? 2 : usual) }

    func size(_ full: Int, quick small: Int) -> Int { quick ? small : full }

    func time(_ full: Duration, quick small: Duration = .milliseconds(300)) -> Duration { quick ? small : full }
}
