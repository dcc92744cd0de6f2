/// One run of a batch, with its figures. In JSON: `{"run_index":0,"variables":{…},"metrics":{…}}`.
package struct Run: Sendable, Equatable, Codable {
    /// From 0, in the order of the grid.
    package let index: Int
    package let variables: Assignment
    package let metrics: Metrics

    package init(index: Int, variables: Assignment, metrics: Metrics) {
        self.index = index
        self.variables = variables
        self.metrics = metrics
    }

    private enum CodingKeys: String, CodingKey {
        case index = "run_index"
        case variables
        case metrics
    }
}
