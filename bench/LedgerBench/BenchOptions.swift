/// What is measured, and how long.
package struct BenchOptions: Sendable {
    /// Only rows whose text contains this.
    package var only: String?
    /// Rounds a row; without it every row has the number that its length allows.
    package var rounds: Int?
    /// Small sizes, to see whether everything runs: the figures mean nothing.
    package var quick: Bool
    /// Where the servers keep their data for the time of the run; the temporary directory where it
    /// is not given.
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
