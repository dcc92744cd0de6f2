import LedgerCore

/// What a subscription is to.
struct Selection: Sendable {
    /// `nil` for all.
    var jobs: Set<JobID>?
    /// `nil` for all.
    var types: Set<EventType>?
    /// Whether the subscription ends behind the last event of its one job.
    var endsWithJob: Bool

    /// The one job whose events are counted by their versions. Of several, positions alone tell the
    /// order between them.
    var onlyJob: JobID? { jobs?.count == 1 ? jobs?.first : nil }

    func wants(_ type: EventType) -> Bool { types?.contains(type) ?? true }

    /// The place of an event, by what is counted here.
    func mark(_ event: FeedEvent) -> Delivery<FeedEvent>.Mark {
        Delivery.Mark(number: onlyJob == nil ? event.position : Int64(event.version), position: event.position)
    }
}
