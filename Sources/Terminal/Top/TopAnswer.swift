package import LedgerCore
package import Projections

/// What ``TopModel`` wants to be shown, as questions to the ledger.
package struct TopQuestion: Sendable, Equatable {
    package var list: JobListQuery
    /// The job that is open.
    package var job: JobID?
    /// The version of its last event, as far as the list knew when it was opened.
    package var lastVersion: Int32

    package init(list: JobListQuery, job: JobID? = nil, lastVersion: Int32 = 0) {
        (self.list, self.job, self.lastVersion) = (list, job, lastVersion)
    }
}

/// What the ledger answered to a ``TopQuestion``.
package struct TopAnswer: Sendable {
    package var question: TopQuestion
    package var page: TopPage
    package var counts: TopCounts
    /// The last position of the log.
    package var head: Position
    package var opened: OpenedJob?

    package init(
        question: TopQuestion, page: TopPage, counts: TopCounts, head: Position, opened: OpenedJob? = nil
    ) {
        self.question = question
        self.page = page
        self.counts = counts
        self.head = head
        self.opened = opened
    }
}

/// A job that is open: its row, and its last events.
package struct OpenedJob: Sendable, Equatable {
    package var job: JobID
    /// `nil` while the read model does not have it.
    package var row: Row?
    /// In the order of the log.
    package var events: [Event]

    package init(job: JobID, row: Row?, events: [Event]) {
        (self.job, self.row, self.events) = (job, row, events)
    }

    /// What can change while the job is open.
    package struct Row: Sendable, Equatable {
        package var status: JobListQuery.Status
        package var total: Int64
        package var completed: Int64
        package var completedAt: Timestamp?
        package var error: String?
        package var isTruncated: Bool

        package init(
            status: JobListQuery.Status, total: Int64, completed: Int64, completedAt: Timestamp? = nil,
            error: String? = nil, isTruncated: Bool = false
        ) {
            (self.status, self.total, self.completed) = (status, total, completed)
            (self.completedAt, self.error, self.isTruncated) = (completedAt, error, isTruncated)
        }
    }

    package struct Event: Sendable, Equatable {
        package var position: Position
        package var version: Int32
        package var type: EventType
        package var recordedAt: Timestamp
        /// `nil` if they are large.
        package var data: String?

        package init(position: Position, version: Int32, type: EventType, recordedAt: Timestamp, data: String?) {
            (self.position, self.version, self.type) = (position, version, type)
            (self.recordedAt, self.data) = (recordedAt, data)
        }
    }
}

/// The clocks of the machine that shows the table.
package struct TopTime: Sendable {
    /// Seconds of a clock that nobody sets.
    package var seconds: Double
    package var now: Timestamp

    package init(seconds: Double, now: Timestamp) { (self.seconds, self.now) = (seconds, now) }
}
