import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Postgres
import Projections
import Terminal

struct Runs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the runs of a job, with their variables and metrics.",
        discussion: """
            --sort takes the name of a metric or variable, and lists the greatest value first unless --order says \
            otherwise; runs without it come last. Without --sort, runs come in the order of their numbers. People get \
            the first 50 runs unless --limit says otherwise; with --json, each line is a run, and with --csv too, with \
            a column for each variable and metric. Exit code 1 if there is no such job.

            EXAMPLE
              jobledger runs backtest-7
              jobledger runs backtest-7 --sort sharpe --limit 10
              jobledger runs backtest-7 --sort max_drawdown --order asc --json
              jobledger runs backtest-7 --csv > backtest-7.csv
            """)

    @Argument(help: "The job's id.")
    var job: JobID

    @Option(help: ArgumentHelp("Sort by this metric or variable.", valueName: "metric"))
    var sort: String?

    @Option(help: "From the least to the greatest, or the other way round.")
    var order: JobListQuery.Order?

    @Option(help: "List at most this many.", transform: NumberOption.integer("--limit", 1...10_000_000))
    var limit: Int?

    @OptionGroup var listing: ListingOptions

    func run() async throws {
        let settings = try await listing.options.settings()
        let connection = try await settings.connect("jobledger runs")
        // One snapshot: the columns are those of the rows.
        let isKnown = try await connection.transaction(.repeatableRead, readOnly: true) { connection in
            let columns = try await RunColumns(of: job, on: connection)
            if let sort { try Self.require(sort, columns) }
            if columns.count == 1, try await !Self.exists(job, on: connection) { return false }
            try await show(columns, on: connection)
            return true
        }
        await connection.close()
        guard isKnown else {
            let message = "no job \(Output.printable(job))"
            if listing.form == .json { try Output.json(Append.ErrorAnswer(Refusal(.unknownJob, message))) }
            Output.diagnostic("unknown_job: \(message)")
            throw Failure.refused
        }
    }

    private static func exists(_ job: JobID, on connection: PostgresConnection) async throws -> Bool {
        let statement = "SELECT EXISTS (SELECT FROM events WHERE category = 'job' AND stream_id = $1 AND version = 1)"
        return try await connection.query(statement, job).only().decode(0)
    }

    private static func require(_ name: String, _ columns: RunColumns) throws {
        let names = columns.metrics + columns.variables
        guard !names.isEmpty, !names.contains(ExactText(name)) else { return }
        let list = names.map { Output.printable($0) }.joined(separator: ", ").shortened(toBytes: 1000)
        throw ValidationError("No run has \(NumberOption.quoted(name)). There are: \(list).")
    }

    private func show(_ columns: RunColumns, on connection: PostgresConnection) async throws {
        let limit = listing.limit(limit)
        // One more than are listed tells whether there are more.
        let statement = Self.statement(job, sort: sort, order: order, limit: limit == .max ? limit : limit + 1)
        var runs: [RunRow] = []
        var count = 0
        if listing.form == .csv { try Output.write(Array(columns.csvNames.utf8)) }
        for try await row in connection.stream(statement) {
            count += 1
            guard count <= limit else { continue }
            switch listing.form {
            case .table: runs.append(try RunRow(row))
            case .csv:
                let line = try columns.csv(
                    try row.decode(0), variables: try row.decode(1), metrics: try row.decode(2))
                try Output.write(Array(line.utf8))
            case .json: try Output.line(Array(try row.decode(3, as: String.self).utf8))
            }
        }
        guard listing.form == .table else { return }
        for line in RunTable.lines(runs, columns) { try Output.line(line) }
        if count == 0 { Output.diagnostic("the job has reported no runs, or the projection has not folded them yet") }
        if count > limit { Output.diagnostic("there are more: --limit \(2 * limit)") }
    }

    /// The rows are those of `GET /v1/jobs/{id}/runs`, and in front of each what ``RunRow`` reads.
    private static func statement(
        _ job: JobID, sort: String?, order: JobListQuery.Order?, limit: Int
    ) -> PostgresStatement {
        var parameters = PostgresParameters(job)
        var order = order
        var key = "run_index"
        if let sort {
            let name = parameters.add(sort)
            // Numbers compare as numbers, and texts as texts.
            key = "coalesce(metrics -> \(name), variables -> \(name))"
            order = order ?? .descending
        }
        return PostgresStatement(
            """
            SELECT run_index, variables::text, metrics::text,
                   (SELECT row_to_json(shown)::text
                      FROM (SELECT run_index, variables, metrics,
                                   created_at AT TIME ZONE 'UTC' AS created_at) AS shown)
              FROM batch_job_runs
             WHERE batch_job_id = $1
             ORDER BY \(key) \(order == .descending ? "DESC" : "ASC") NULLS LAST, run_index
             LIMIT \(parameters.add(limit))
            """, parameters.values)
    }
}

/// A run, as the table shows it.
struct RunRow {
    var index: Int32
    var variables: [ExactText: [UInt8]]
    var metrics: [ExactText: [UInt8]]

    init(_ row: PostgresRow) throws {
        index = try row.decode(0)
        variables = try Self.members(try row.decode(1))
        metrics = try Self.members(try row.decode(2))
    }

    private static func members(_ json: String) throws -> [ExactText: [UInt8]] {
        // A run may have something else than an object; it has no names then.
        guard json.hasPrefix("{") else { return [:] }
        return Dictionary(try JSONText.members(of: json).map { ($0.name, $0.value) }) { _, last in last }
    }
}

/// Runs as a table for people.
enum RunTable {
    /// The lines, headings first.
    static func lines(_ runs: [RunRow], _ columns: RunColumns) -> [String] {
        func column(_ name: ExactText, _ part: KeyPath<RunRow, [ExactText: [UInt8]]>) -> TextTable.Column {
            let cells = runs.map { $0[keyPath: part][name] ?? [] }
            return TextTable.Column(name.text, cells.map(short), isNumber: cells.allSatisfy(isNumber))
        }
        return TextTable(
            [TextTable.Column("run", runs.map { "\($0.index)" }, isNumber: true)]
                + columns.variables.map { column($0, \.variables) } + columns.metrics.map { column($0, \.metrics) }
        ).lines
    }

    /// A long fraction is rounded for people; programs get every digit.
    private static func short(_ json: [UInt8]) -> String {
        if json.count > 9, isNumber(json), json.contains(where: { [0x2E, 0x45, 0x65].contains($0) }),
            let number = Double(String(decoding: json, as: UTF8.self)), abs(number) < 1e9
        {
            let factor = abs(number) < 1 ? 1e6 : 1e4
            let rounded = "\((number * factor).rounded() / factor)"
            if rounded.count < json.count { return rounded }
        }
        return Output.value(json, longest: 100)
    }

    /// Also of a run without it, which has an empty cell.
    private static func isNumber(_ json: [UInt8]) -> Bool {
        guard let first = json.first else { return true }
        return first == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
    }
}
