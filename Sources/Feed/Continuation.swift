import LedgerCore

/// What a subscription does after a read, by what the log still has of its history. A plain value.
enum Continuation: Sendable, Equatable {
    /// The log has all of it.
    case goOn
    /// The log has all events that the consumer took. Behind this position there are other events
    /// than the subscription has seen, but none of those it has seen was for the consumer.
    case goBack(to: Position)
    /// The log no longer has all that the consumer took, only what is up to this position.
    case diverged(shared: Position)

    /// - Parameters:
    ///   - mark: the position up to which the subscription has seen the log.
    ///   - taken: the position of the last event that the consumer took.
    ///   - shared: the last position, at most `mark`, that both histories have in common.
    init(mark: Position, taken: Position, shared: Position) {
        self = shared >= mark ? .goOn : taken <= shared ? .goBack(to: shared) : .diverged(shared: shared)
    }
}
