import LedgerCore

/// Which events a subscription wants.
struct Selection: Sendable {
    /// `nil` for all. A subscription to streams, or to types, is to those of one category.
    let category: Category?
    /// The streams of the category: jobs, if it is theirs. `nil` for all.
    let jobs: Set<JobID>?
    /// `nil` for all.
    let types: Set<EventType>?
    /// Whether the subscription ends after the last event of its one job. Streams of other
    /// categories do not end a subscription.
    let endsWithJob: Bool

    /// - Parameter category: `nil` for all; but with `jobs` or `types`, which are of jobs then, for
    ///   that of jobs.
    init(category: Category? = nil, jobs: Set<JobID>? = nil, types: Set<EventType>? = nil, endsWithJob: Bool = false) {
        self.category = category ?? (jobs == nil && types == nil ? nil : .job)
        self.jobs = jobs
        self.types = types
        self.endsWithJob = endsWithJob && self.category == .job
    }

    /// The stream, if there is only one: its events are counted by version. With several streams,
    /// only positions give a common order.
    var onlyJob: JobID? { jobs?.count == 1 ? jobs?.first : nil }

    /// The streams; `nil` for all of the log, or of a category.
    var streams: [StreamKey]? {
        guard let category, let jobs else { return nil }
        return jobs.map { StreamKey(category, $0) }
    }

    func wants(_ event: FeedEvent) -> Bool {
        (types?.contains(event.type) ?? true) && (category.map { $0 == event.category } ?? true)
    }

    /// The place of an event, with its version or position as the number.
    func mark(_ event: FeedEvent) -> Delivery<FeedEvent>.Mark {
        Delivery.Mark(number: onlyJob == nil ? event.position : Int64(event.version), position: event.position)
    }
}
