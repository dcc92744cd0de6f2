package import LedgerCore

/// The outcome of a request is unknown: the connection broke, or the server went away, while the
/// request was being committed.
package struct OutcomeUnknown: Error, Sendable, CustomStringConvertible {
    package let reason: String
    package init(reason: String) { self.reason = reason }

    /// Of an append that was sent, and whose answer did not come in time.
    init(unansweredFor limit: Duration) {
        self.init(
            reason: "the ledger has not answered for \(limit): the append waits for the log, the disk or the standbys")
    }

    package var description: String {
        "it is not known whether the events were written; retry with the same event ids: \(reason)"
    }
}

/// A request waited too long behind a call that is not answered. Nothing of it was written.
package struct GroupCommitBusy: Error, Sendable, CustomStringConvertible {
    package let waited: Duration
    package var description: String {
        "nothing was written: the call before it has not been answered, and it has waited for \(waited)"
    }
}

/// The group commit is stopping or has stopped. Nothing of the request was written.
package struct GroupCommitStopped: Error, Sendable, CustomStringConvertible {
    package var description: String { "not accepted, and nothing was written: the group commit is stopping" }
}

extension GroupCommitBusy: ExitStatusProviding {
    package var exitStatus: ExitStatus { .cannotConnect }
}

extension OutcomeUnknown: ExitStatusProviding {
    package var exitStatus: ExitStatus { .cannotConnect }
}
