/// Everything that can happen to a job.
public enum EventType: String, Sendable, CaseIterable, Hashable {
    case queued, progress, truncated, finished, failed

    /// Whether an event of this type is the job's last.
    public var isEnd: Bool { self == .finished || self == .failed }
}
