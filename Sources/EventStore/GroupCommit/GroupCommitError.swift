/// Nobody knows whether a request was written: the connection broke, or the server went away, while it was being committed.
public struct OutcomeUnknown: Error, Sendable, CustomStringConvertible {
    public let reason: String
    public init(reason: String) { self.reason = reason }

    public var description: String { "it is not known whether the events were written; retry with the same event ids: \(reason)" }
}

/// The group commit is stopping or has stopped. Nothing of the request was written.
public struct GroupCommitStopped: Error, Sendable, CustomStringConvertible {
    public var description: String { "not accepted, and nothing was written: the group commit is stopping" }
}
