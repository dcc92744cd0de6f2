package import EventStore
package import LedgerCore

/// A question to the read model `job_list`: conditions, all of which must hold, an order, a page,
/// and the moment at which all of it is meant.
package struct JobListQuery: Sendable, Equatable {
    /// The state of a job, by the value of the column `status`.
    package enum Status: String, Sendable, CaseIterable { case queued, running, finished, failed }

    /// What jobs are sorted by.
    package enum Sort: String, Sendable, CaseIterable {
        /// The position of `queued`.
        case queued
        /// The position of the first `progress`.
        case started
        /// The position of `finished` or `failed`.
        case ended
        /// The name, by the bytes of its UTF-8.
        case name
        /// From the first progress, or from `queued` if there was none, to the end.
        case took
        /// The position of the latest event.
        case updated
    }

    package enum Order: String, Sendable, CaseIterable {
        case ascending = "asc"
        case descending = "desc"
    }

    /// A variable that the job has, with one of its values if it is given.
    package struct Variable: Sendable, Equatable {
        package var name: String
        /// As a text: it finds the text, and the number or truth value that is written so.
        package var value: String?

        package init(name: String, value: String? = nil) {
            self.name = name
            self.value = value
        }
    }

    /// A member of the metadata of the job's `queued`.
    package struct Metadata: Sendable, Equatable {
        package var key: String
        /// As a text: it finds the text, and the number or truth value that is written so.
        package var value: String

        package init(key: String, value: String) {
            self.key = key
            self.value = value
        }
    }

    /// Any of these; all if it is empty.
    package var statuses: Set<Status> = []
    /// `server` or `local`.
    package var kind: String?
    /// The actor of the job's `queued`.
    package var actor: ExactText?
    /// A part of the id, the name or the error. Upper and lower case of ASCII are the same.
    package var text: String?
    /// When the job was queued: at this time or later.
    package var since: Timestamp?
    /// When the job was queued: at this time or earlier.
    package var until: Timestamp?
    package var variables: [Variable] = []
    package var metadata: [Metadata] = []
    package var isTruncated: Bool?

    package var sort: Sort
    package var order: Order
    /// The last job of the page before.
    package var after: JobID?
    /// How many jobs come before the page, in place of `after`.
    package var skipped = 0
    package var limit: Int
    /// The moment at which conditions, order and rows are meant; `nil` for now.
    package var moment: LogMoment?

    /// The most matching jobs that are collected and sorted: see ``JobListPart``.
    var mostCollected = 4000

    /// How many events before a moment are read to find the jobs that were updated last: see
    /// ``JobListBranch``.
    var recentEvents: Position = 10_000

    /// Whether there are conditions, other than the status.
    var hasConditionsBesideStatus: Bool {
        kind != nil || actor != nil || text != nil || since != nil || until != nil || isTruncated != nil
            || !variables.isEmpty || !metadata.isEmpty
    }

    /// The most jobs that ``skipped`` may be.
    package static let mostSkipped = 1_000_000

    /// - Parameter order: by default names ascend, and all else descends.
    package init(sort: Sort = .queued, order: Order? = nil, limit: Int = 100) {
        self.sort = sort
        self.order = order ?? (sort == .name ? .ascending : .descending)
        self.limit = limit
    }
}
