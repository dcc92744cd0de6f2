package import LedgerCore
package import Postgres

/// The columns of a job's runs as a table, from the read model `batch_job_runs`: the variables and
/// the metrics that runs have, in the order in which they first appear.
package struct RunColumns: Sendable {
    package private(set) var variables: [ExactText] = []
    package private(set) var metrics: [ExactText] = []

    package var count: Int { 1 + variables.count + metrics.count }

    /// - Parameter most: if there are more variables and metrics, one more is read and the rest is
    ///   not.
    package init(of job: JobID, most: Int = .max - 1, on connection: PostgresConnection) async throws {
        for row in try await connection.query(Self.statement, job, most + 1) {
            if try row.decode(0) { metrics.append(try row.decode(1)) } else { variables.append(try row.decode(1)) }
        }
    }

    private static let statement = """
        SELECT is_metric, name
          FROM batch_job_runs AS run
          CROSS JOIN LATERAL (VALUES (false, variables), (true, metrics)) AS part (is_metric, members)
          CROSS JOIN LATERAL jsonb_object_keys(CASE jsonb_typeof(members) WHEN 'object' THEN members ELSE '{}' END)
            WITH ORDINALITY AS key (name, place)
         WHERE batch_job_id = $1
         GROUP BY is_metric, name
         ORDER BY is_metric, min(run_index::bigint << 20 | place), name
         LIMIT $2
        """

    /// The names of the columns as a line of CSV.
    package var csvNames: String {
        CSVText.line(["run_index"] + (variables + metrics).map { CSVText.cell($0.text) })
    }

    /// A run as a line of CSV.
    /// - Parameters:
    ///   - variables: JSON, as in the read model; something else than an object has no members.
    ///   - metrics: likewise.
    /// - Throws: ``Changed`` if the run has a variable or a metric that no column is for.
    package func csv(_ index: Int32, variables: String, metrics: String) throws -> String {
        let cells = try Self.cells(variables, self.variables) + Self.cells(metrics, self.metrics)
        return CSVText.line(["\(index)"] + cells)
    }

    private static func cells(_ json: String, _ names: [ExactText]) throws -> [String] {
        guard json.utf8.first == UInt8(ascii: "{") else { return names.map { _ in "" } }
        var values: [ExactText: ArraySlice<UInt8>] = [:]
        for (name, value) in try JSONText.slices(of: Array(json.utf8)[...]) { values[name] = value }
        let cells = names.map { name in values.removeValue(forKey: name).map(CSVText.cell(json:)) ?? "" }
        guard values.isEmpty else { throw Changed() }
        return cells
    }

    /// A run has been reported that has something new, after the names of columns were written.
    package struct Changed: Error, Sendable, CustomStringConvertible {
        package var description: String {
            "a run with a new variable or metric was reported while the runs were read: read them again"
        }
    }
}
