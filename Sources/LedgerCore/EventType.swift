/// What can happen to a job, and nothing else can.
public enum EventType: String, Sendable, CaseIterable, Hashable {
    case queued, progress, truncated, finished, failed

    /// Whether nothing follows an event of this type.
    public var isEnd: Bool { self == .finished || self == .failed }
}
