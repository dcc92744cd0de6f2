import LedgerCore

/// Which events a subscription wants.
struct Selection: Sendable {
    /// `nil` for all.
    var jobs: Set<JobID>?
    /// `nil` for all.
    var types: Set<EventType>?
    /// Whether the subscription ends after the last event of its one job.
    var endsWithJob: Bool

    /// The job, if there is only one: its events are counted by version. With several jobs, only
    /// positions give a common order.
    var onlyJob: JobID? { jobs?.count == 1 ? jobs?.first : nil }

    func wants(_ type: EventType) -> Bool { types?.contains(type) ?? true }

    /// The place of an event, with its version or position as the number.
    func mark(_ event: FeedEvent) -> Delivery<FeedEvent>.Mark {
        Delivery.Mark(number: onlyJob == nil ? event.position : Int64(event.version), position: event.position)
    }
}
