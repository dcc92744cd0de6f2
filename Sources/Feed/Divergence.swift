package import LedgerCore

/// The ledger does not have all that a reader has: it lost its last events in a failover, or was
/// restored from a backup.
///
/// What the reader got behind ``shared`` is not in the ledger any more. The ledger may have given
/// the positions behind it to other events. The way on is to undo what came of the lost events, and
/// to subscribe after ``shared``.
package struct Divergence: Error, Sendable, Hashable, CustomStringConvertible {
    /// What the reader had.
    package let place: Place
    /// The last place that both histories have in common. It names the present epoch, so a
    /// subscription after it goes on. Position 0 if nothing is known to be in common.
    package let shared: Place
    /// The last position of the ledger.
    package let head: Position

    package init(place: Place, shared: Place, head: Position) {
        self.place = place
        self.shared = shared
        self.head = head
    }

    package var description: String {
        "the ledger no longer has what this reader has: it had come to \(place), and shares its events up to "
            + "position \(shared.position) with the ledger, which now ends at position \(head); "
            + "to go on with the ledger's events, start after \(shared)"
    }
}

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
