import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Projections
import Terminal

struct Jobs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the jobs, now or as they were.",
        discussion: """
            A job must meet all conditions that are given. With --at, conditions and answer are those of that position \
            or time. People get the first 50 jobs unless --limit says otherwise, and the number of jobs in each state \
            in the last line; with --json, each line is a job, and with --csv too.

            EXAMPLE
              jobledger jobs
              jobledger jobs --status running --sort took
              jobledger jobs --text "out of memory" --since 2026-11-23T00:00:00Z
              jobledger jobs --variable ticker:SPY --metadata team:research --json
              jobledger jobs --at 2026-11-23T20:45:00Z --csv > jobs.csv
            """)

    @OptionGroup var conditions: JobListOptions

    @Option(
        help: ArgumentHelp("A position, or a time in RFC 3339.", valueName: "position|time"),
        transform: LogMoment.option("--at"))
    var at: LogMoment?

    @Option(help: "List at most this many.", transform: NumberOption.integer("--limit", 1...1_000_000))
    var limit: Int?

    @OptionGroup var listing: ListingOptions

    /// The jobs of one question. So a list of any length takes little memory.
    private static let pageSize = 1000

    func run() async throws {
        let settings = try await listing.options.settings()
        let store = try settings.store()
        let list = JobList(store)
        var left = listing.limit(limit)
        var query = conditions.query(limit: min(left, Self.pageSize))
        query.moment = at
        var rows: [JobListRow] = []
        if listing.form == .csv { try Output.write(Array(JobTable.csvNames.utf8)) }
        var page = try await list.page(query)
        while true {
            switch listing.form {
            case .table: rows += page.rows
            case .json: for row in page.rows { try Output.line(Array(row.json.utf8)) }
            case .csv: for row in page.rows { try Output.write(Array(JobTable.csv(row).utf8)) }
            }
            left -= page.rows.count
            guard page.hasMore, left > 0, let last = page.rows.last else { break }
            // All pages are of one moment.
            query.moment = .position(page.position)
            query.after = last.id
            query.limit = min(left, Self.pageSize)
            page = try await list.page(query)
        }
        if listing.form == .table {
            let counts = try await list.counts(at: .position(page.position))
            try show(rows, counts, hasMore: page.hasMore)
        }
        await store.close()
    }

    private func show(_ rows: [JobListRow], _ counts: JobCounts, hasMore: Bool) throws {
        for line in JobTable.lines(rows) { try Output.line(line) }
        if rows.isEmpty { Output.diagnostic("no job meets the conditions") }
        if hasMore { Output.diagnostic("there are more: --limit \(2 * rows.count)") }
        let numbers = TopCounts(counts)
        let states = JobListQuery.Status.shown.map { "\(Shown.count(numbers[$0])) \($0.rawValue)" }
        try Output.line("of all jobs \(states.joined(separator: ", ")), at position \(counts.position)")
    }
}

/// Jobs as a table for people, and as CSV for spreadsheets.
enum JobTable {
    /// The lines of a table, headings first.
    static func lines(_ rows: [JobListRow]) -> [String] {
        TextTable([
            .init("state", rows.map(\.status.rawValue)), .init("job", rows.map(\.id.text)),
            .init("name", rows.map(\.name), widest: 40),
            .init("done", rows.map { Shown.count(Int64($0.completed)) }, isNumber: true),
            .init("of", rows.map { $0.total > 0 ? Shown.count(Int64($0.total)) : "" }, isNumber: true),
            .init("took", rows.map(took), isNumber: true),
            .init("queued", rows.map { Shown.seconds($0.createdAt) }),
            .init("actor", rows.map { $0.actor?.text ?? "" }),
            .init("", rows.map { $0.isTruncated ? "truncated" : "" }),
            .init("error", rows.map { $0.error ?? "" }, widest: 60),
        ]).lines
    }

    /// From the first progress to the end; of a running job, to its latest event.
    private static func took(_ row: JobListRow) -> String {
        guard row.status != .queued else { return "" }
        let end = row.completedAt ?? row.updatedAt
        let start = row.startedAt ?? row.createdAt
        return Shown.duration(Double(max(0, end.microseconds - start.microseconds)) / 1e6)
    }

    // MARK: CSV

    static let csvNames = CSVText.line([
        "id", "name", "kind", "status", "actor", "total", "completed", "truncated", "created_at", "started_at",
        "updated_at", "completed_at", "queued_position", "last_position", "last_version", "last_recorded_at", "error",
    ])

    static func csv(_ row: JobListRow) -> String {
        CSVText.line([
            CSVText.cell(row.id.text), CSVText.cell(row.name), CSVText.cell(row.kind), row.status.rawValue,
            CSVText.cell(row.actor?.text), "\(row.total)", "\(row.completed)", "\(row.isTruncated)",
            "\(row.createdAt)", row.startedAt.map { "\($0)" } ?? "", "\(row.updatedAt)",
            row.completedAt.map { "\($0)" } ?? "", "\(row.queuedPosition)", "\(row.lastPosition)",
            "\(row.lastVersion)", "\(row.lastRecordedAt)", CSVText.cell(row.error),
        ])
    }
}
