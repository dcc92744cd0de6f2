package import LedgerCore
package import Projections

/// A job as the table shows it.
package struct TopJob: Sendable, Equatable {
    package var id: JobID
    package var name: String
    package var kind: String
    package var status: JobListQuery.Status
    package var actor: ExactText?
    /// 0 if it is not known.
    package var total: Int64
    package var completed: Int64
    package var createdAt: Timestamp
    package var startedAt: Timestamp?
    package var completedAt: Timestamp?
    package var error: String?
    package var isTruncated: Bool
    package var lastVersion: Int32
    package var lastRecordedAt: Timestamp

    package init(
        id: JobID, name: String, kind: String = "server", status: JobListQuery.Status, actor: ExactText? = nil,
        total: Int64, completed: Int64 = 0, createdAt: Timestamp, startedAt: Timestamp? = nil,
        completedAt: Timestamp? = nil, error: String? = nil, isTruncated: Bool = false, lastVersion: Int32 = 1,
        lastRecordedAt: Timestamp
    ) {
        (self.id, self.name, self.kind, self.status, self.actor) = (id, name, kind, status, actor)
        (self.total, self.completed) = (total, completed)
        (self.createdAt, self.startedAt, self.completedAt) = (createdAt, startedAt, completedAt)
        (self.error, self.isTruncated) = (error, isTruncated)
        (self.lastVersion, self.lastRecordedAt) = (lastVersion, lastRecordedAt)
    }

    package init(_ row: JobListRow) {
        self.init(
            id: row.id, name: row.name, kind: row.kind, status: row.status, actor: row.actor, total: Int64(row.total),
            completed: Int64(row.completed), createdAt: row.createdAt, startedAt: row.startedAt,
            completedAt: row.completedAt, error: row.error, isTruncated: row.isTruncated,
            lastVersion: row.lastVersion, lastRecordedAt: row.lastRecordedAt)
    }
}

/// A part of the table.
package struct TopPage: Sendable, Equatable {
    /// The moment that it shows.
    package var position: Position
    package var jobs: [TopJob]
    /// Whether more jobs follow.
    package var hasMore: Bool

    package init(position: Position, jobs: [TopJob] = [], hasMore: Bool = false) {
        (self.position, self.jobs, self.hasMore) = (position, jobs, hasMore)
    }

    package init(_ page: JobListPage) {
        self.init(position: page.position, jobs: page.rows.map { TopJob($0) }, hasMore: page.hasMore)
    }
}

/// How many jobs there were in each state.
package struct TopCounts: Sendable, Equatable {
    package var queued: Int64
    package var running: Int64
    package var finished: Int64
    package var failed: Int64

    package init(queued: Int64, running: Int64, finished: Int64, failed: Int64) {
        (self.queued, self.running, self.finished, self.failed) = (queued, running, finished, failed)
    }

    package init(_ counts: JobCounts) {
        self.init(queued: counts.queued, running: counts.running, finished: counts.finished, failed: counts.failed)
    }

    package subscript(status: JobListQuery.Status) -> Int64 {
        switch status {
        case .queued: queued
        case .running: running
        case .finished: finished
        case .failed: failed
        }
    }
}

extension JobListQuery.Status {
    /// In the order in which people are told of them.
    package static let shown: [Self] = [.running, .queued, .finished, .failed]
}
