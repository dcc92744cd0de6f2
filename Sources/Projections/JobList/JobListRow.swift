import EventStore
package import LedgerCore
import Postgres

/// A job in a list, as it was at the moment of the list.
package struct JobListRow: Sendable, Equatable {
    package var id: JobID
    package var name: String
    package var kind: String
    package var status: JobListQuery.Status
    /// The actor of its `queued`.
    package var actor: ExactText?
    /// 0 if it is not known.
    package var total: Int
    package var completed: Int
    package var createdAt: Timestamp
    /// When the first `progress` happened.
    package var startedAt: Timestamp?
    package var updatedAt: Timestamp
    package var completedAt: Timestamp?
    package var error: String?
    package var isTruncated: Bool
    package var queuedPosition: Position
    /// Those of its latest event.
    package var lastPosition: Position
    package var lastVersion: Int32
    package var lastRecordedAt: Timestamp
    /// All of it as a JSON object, with the members that `GET /v1/jobs` shows.
    package var json: String

    /// What is read of each row of `shown`, before the JSON.
    static let columns = """
        shown.id, shown.name, shown.kind, shown.status, shown.actor, shown.total, shown.completed, shown.created_at,
        shown.started_at, shown.updated_at, shown.completed_at, shown.error, shown.truncated, shown.queued_position,
        shown.last_position, shown.last_version, shown.last_recorded_at
        """

    /// - Parameter row: with ``columns`` and the JSON, in this order.
    init(_ row: PostgresRow) throws {
        id = try row.decode(0)
        name = try row.decode(1)
        kind = try row.decode(2)
        let status: String = try row.decode(3)
        guard let known = JobListQuery.Status(rawValue: status) else { throw UnknownStatus(job: id, status: status) }
        self.status = known
        actor = try row.decode(4)
        total = try row.decode(5)
        completed = try row.decode(6)
        createdAt = Timestamp(try row.decode(7, as: PostgresTimestamp.self))
        startedAt = try row.decode(8, as: PostgresTimestamp?.self).map(Timestamp.init)
        updatedAt = Timestamp(try row.decode(9, as: PostgresTimestamp.self))
        completedAt = try row.decode(10, as: PostgresTimestamp?.self).map(Timestamp.init)
        error = try row.decode(11)
        isTruncated = try row.decode(12)
        queuedPosition = try row.decode(13)
        lastPosition = try row.decode(14)
        lastVersion = try row.decode(15)
        lastRecordedAt = Timestamp(try row.decode(16, as: PostgresTimestamp.self))
        json = try row.decode(17)
    }

    /// The read model has a status that no job can have.
    struct UnknownStatus: Error, CustomStringConvertible {
        let job: JobID
        let status: String
        var description: String {
            "job_list has the status \"\(status)\" for the job \(job): rebuild it (jobledger rebuild job_list)"
        }
    }
}

/// A page of a list.
package struct JobListPage: Sendable, Equatable {
    /// The moment that the page shows.
    package var position: Position
    package var rows: [JobListRow] = []
    /// Whether more jobs follow.
    package var hasMore = false

    /// - Parameter hasMore: whether more jobs follow.
    package init(position: Position, rows: [JobListRow] = [], hasMore: Bool = false) {
        self.position = position
        self.rows = rows
        self.hasMore = hasMore
    }
}

/// How many jobs there were in each state.
package struct JobCounts: Sendable, Equatable {
    /// The moment of the counts.
    package var position: Position
    package var queued: Int64 = 0
    package var running: Int64 = 0
    package var finished: Int64 = 0
    package var failed: Int64 = 0
}
