import LedgerCore
import Postgres

/// Jobs that a list sorts by the same keys. A list is one branch, or two: those that have what it
/// is sorted by, and behind them, by when they were queued, those that do not.
struct JobListBranch: Sendable {
    /// A key as SQL about a row `job`, and its type.
    struct Key: Sendable {
        let sql: String
        let type: String
        /// The same for a row of the table alone, where ``JobListBranch/source`` has more.
        var ofRow: String?
    }

    /// Where the rows come from.
    var source = "job_list AS job"

    /// Which jobs belong to it; `nil` for all.
    let condition: String?
    let keys: [Key]
    /// Whether the jobs that are over come from the index by their ends, and are merged with the
    /// few that are not. Their latest event is the last.
    var isMerged = false
    /// The condition that a job is in this branch, as SQL that holds after the keys are made; `nil`
    /// for all that fit ``condition``.
    var bound: String?
    /// The states that its jobs can have.
    let statuses: Set<JobListQuery.Status>
    /// Whether an index has these jobs, and no others, in the order of the keys.
    var isIndexed = true

    private static let queued = Key(sql: "queued_position", type: "bigint")
    private static let ended: Set<JobListQuery.Status> = [.finished, .failed]
    private static let open: Set<JobListQuery.Status> = [.queued, .running]
    private static let all = Set(JobListQuery.Status.allCases)

    /// The branches of a list, in their order. A branch whose jobs have none of the wanted states
    /// is left out.
    static func of(_ query: JobListQuery, at moment: ListedMoment) -> [JobListBranch] {
        let branches: [JobListBranch] =
            switch query.sort {
            case .queued: [JobListBranch(condition: nil, keys: [queued], statuses: all)]
            case .name:
                [JobListBranch(condition: nil, keys: [Key(sql: "name", type: "text"), queued], statuses: all)]
            case .updated: updated(query, at: moment)
            case .started:
                [
                    JobListBranch(
                        condition: moment.hasStarted, keys: [Key(sql: "started_position", type: "bigint")],
                        statuses: all.subtracting([.queued])),
                    JobListBranch(
                        condition: moment.hasNotStarted, keys: [queued], statuses: all.subtracting([.running]),
                        isIndexed: false),
                ]
            case .ended:
                [
                    JobListBranch(
                        condition: moment.hasEnded, keys: [Key(sql: "ended_position", type: "bigint")],
                        statuses: ended),
                    JobListBranch(condition: moment.isOpen, keys: [queued], statuses: open, isIndexed: false),
                ]
            case .took:
                [
                    JobListBranch(
                        condition: moment.hasEnded,
                        keys: [
                            Key(sql: "(completed_at - coalesce(started_at, created_at))", type: "interval"), queued,
                        ],
                        statuses: ended),
                    JobListBranch(condition: moment.isOpen, keys: [queued], statuses: open, isIndexed: false),
                ]
            }
        return branches.filter { query.statuses.isEmpty || !query.statuses.isDisjoint(with: $0.statuses) }
    }

    /// By the latest event. That of a running job in the past takes a look at its events, so those
    /// with an event shortly before the moment, which come first, are found in the log itself. Each
    /// is looked up by itself: Postgres does not know how few they are, and might read all jobs.
    private static func updated(_ query: JobListQuery, at moment: ListedMoment) -> [JobListBranch] {
        let key = Key(sql: moment.lastPosition, type: "bigint")
        let whole = JobListBranch(condition: nil, keys: [key], isMerged: true, statuses: all)
        guard moment.isPast, query.order == .descending else { return [whole] }
        let start = moment.position - query.recentEvents
        let recent = JobListBranch(
            source: """
                (\(moment.lastPositions(after: start))) AS recent
                CROSS JOIN LATERAL (SELECT * FROM job_list WHERE job_list.id = recent_id OFFSET 0) AS job
                """,
            condition: nil, keys: [Key(sql: "recent_position", type: "bigint", ofRow: moment.lastPosition)],
            bound: "> \(start)", statuses: all)
        var older = whole
        older.bound = "<= \(start)"
        return [recent, older]
    }

    /// The keys of a job as texts, and whether it belongs to this branch. No row if there is no
    /// such job at the moment.
    func keys(of job: JobID, at moment: ListedMoment) -> PostgresStatement {
        let conditions = ["job.id = $1", moment.isThere].compactMap(\.self).joined(separator: " AND ")
        let keys = keys.map { $0.ofRow ?? $0.sql }
        let isHere = [condition, bound.map { "\(keys[0]) \($0)" }].compactMap(\.self)
        return PostgresStatement(
            """
            SELECT coalesce(\(isHere.isEmpty ? "true" : isHere.joined(separator: " AND ")), false),
                   ARRAY[\(keys.map { "(\($0))::text" }.joined(separator: ", "))]
              FROM job_list AS job WHERE \(conditions)
            """, [job])
    }
}
