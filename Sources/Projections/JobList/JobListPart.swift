import LedgerCore
import Postgres

/// A page of one branch of a list.
///
/// Postgres does not know how conditions and order hang together. Where it expects a page full of
/// matching jobs near the beginning of an index, it may walk the whole index and find few. So jobs
/// that match are collected first, in whatever order is cheapest. If they are few, they are all
/// that is sorted. If they are many, an index in the order of the list comes to enough of them
/// soon.
struct JobListPart: Sendable {
    let query: JobListQuery
    let moment: ListedMoment
    let branch: JobListBranch
    /// The keys of the job after which the page begins.
    var after: [String]?
    var skipped: Int
    var limit: Int

    private static let table = "job_list AS job"

    private var direction: String { query.order == .ascending ? "ASC" : "DESC" }
    private var keyNames: [String] { branch.keys.indices.map { "key\($0)" } }
    private func order(_ keys: [String]) -> String { keys.map { "\($0) \(direction)" }.joined(separator: ", ") }

    /// The rows, with ``JobListRow/columns`` and the JSON.
    var statement: PostgresStatement {
        var parameters = PostgresParameters()
        let conditions = conditions(&parameters)
        let page =
            if needsCollecting {
                collected(conditions, &parameters)
            } else {
                page(walk(conditions, &parameters), &parameters)
            }
        let text = """
            SELECT \(JobListRow.columns), row_to_json(shown)::text
              FROM (\(page)) AS page
              JOIN job_list AS job ON job.id = page.id
              \(moment.joinOfPast)
             CROSS JOIN LATERAL (SELECT \(moment.shown)) AS shown
             ORDER BY \(order(keyNames.map { "page.\($0)" }))
            """
        return PostgresStatement(text, parameters.values)
    }

    /// How many jobs there are, at most ``skipped``.
    var count: PostgresStatement {
        var parameters = PostgresParameters()
        let conditions = conditions(&parameters)
        return PostgresStatement(
            """
            SELECT count(*) FROM (SELECT FROM \(branch.source) \(Self.where(conditions)) \
            LIMIT \(parameters.add(skipped))) AS counted
            """, parameters.values)
    }

    private var needsCollecting: Bool {
        // Such a source has few jobs.
        if branch.source != Self.table { return false }
        if !branch.isIndexed || query.hasConditionsBesideStatus { return true }
        // There is an index by status and position.
        return !query.statuses.isEmpty && (moment.isPast || query.statuses.count > 1 || query.sort != .queued)
    }

    private static func `where`(_ conditions: [String]) -> String {
        conditions.isEmpty ? "" : "WHERE \(conditions.joined(separator: "\n   AND "))"
    }

    private func conditions(_ parameters: inout PostgresParameters) -> [String] {
        JobListConditions.of(query, at: moment, &parameters) + [branch.condition].compactMap(\.self)
    }

    /// The condition to be behind the job of ``after``, for keys with these names.
    private func isBehind(_ names: [String], _ parameters: inout PostgresParameters) -> String? {
        guard let after else { return nil }
        let values = zip(after, branch.keys).map { value, key in "\(parameters.add(value))::\(key.type)" }
        let sign = query.order == .ascending ? ">" : "<"
        return "(\(names.joined(separator: ", "))) \(sign) (\(values.joined(separator: ", ")))"
    }

    private var isInBranch: String? { branch.bound.map { "key0 \($0)" } }

    private func selection(_ keys: [String]) -> String {
        (["job.id"] + zip(keys, keyNames).map { "\($0) AS \($1)" }).joined(separator: ", ")
    }

    private func page(_ jobs: String, _ parameters: inout PostgresParameters) -> String {
        """
        SELECT * FROM (\(jobs)) AS jobs
         ORDER BY \(order(keyNames))
         LIMIT \(parameters.add(limit)) OFFSET \(parameters.add(skipped))
        """
    }

    /// The page from the jobs that match, if they are few, and otherwise by walking an index.
    private func collected(_ conditions: [String], _ parameters: inout PostgresParameters) -> String {
        let count = "(SELECT count(*) FROM matching)"
        let few = ["\(count) <= \(query.mostCollected)", isInBranch, isBehind(keyNames, &parameters)].compactMap(\.self)
        let jobs = """
            SELECT * FROM (SELECT \(selection(branch.keys.map(\.sql))) FROM matching AS job) AS few
            \(Self.where(few))
            UNION ALL
            SELECT * FROM (\(walk(conditions + ["\(count) > \(query.mostCollected)"], &parameters))) AS many
            """
        return """
            WITH matching AS MATERIALIZED (
              SELECT \(Self.neededColumns) FROM job_list AS job
              \(Self.where(conditions))
               LIMIT \(query.mostCollected + 1)
            )
            \(page(jobs, &parameters))
            """
    }

    /// What keys are made of.
    private static let neededColumns = """
        job.id, name, queued_position, started_position, truncated_position, ended_position, last_position, created_at,
        started_at, completed_at
        """

    /// The jobs of the page, and those before it, from an index in the order of the list.
    private func walk(_ conditions: [String], _ parameters: inout PostgresParameters) -> String {
        branch.isMerged ? merged(conditions, &parameters) : plain(conditions, &parameters)
    }

    private func plain(_ conditions: [String], _ parameters: inout PostgresParameters) -> String {
        let keys = branch.keys.map(\.sql)
        let all = conditions + [isBehind(keys, &parameters)].compactMap(\.self)
        return """
            SELECT \(selection(keys))
              FROM \(branch.source)
             \(Self.where(all))
             ORDER BY \(order(keys))
             LIMIT \(parameters.add(limit + skipped))
            """
    }

    /// The jobs that are over, by their ends, and all others.
    private func merged(_ conditions: [String], _ parameters: inout PostgresParameters) -> String {
        let ended = ["ended_position"]
        let bound = branch.bound.map { "ended_position \($0)" }
        let over = conditions + [moment.hasEnded, bound, isBehind(ended, &parameters)].compactMap(\.self)
        let open = conditions + [moment.isOpen]
        let behind = [isInBranch, isBehind(keyNames, &parameters)].compactMap(\.self)
        return """
            (SELECT \(selection(ended))
               FROM job_list AS job
              \(Self.where(over))
              ORDER BY \(order(ended))
              LIMIT \(parameters.add(limit + skipped)))
            UNION ALL
            SELECT * FROM (SELECT \(selection(branch.keys.map(\.sql)))
                             FROM job_list AS job
                            \(Self.where(open))) AS open
            \(Self.where(behind))
            """
    }
}
