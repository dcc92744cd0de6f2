/// The ledger does not have all that a reader has: it lost its last events in a failover, or was
/// restored from a backup.
///
/// What the reader got behind ``shared`` is not in the ledger any more. The ledger may have given
/// the positions behind it to other events. The way on is to undo what came of the lost events, and
/// to subscribe after ``shared``.
public struct Divergence: Error, Sendable, Hashable, CustomStringConvertible {
    /// What the reader had.
    public let place: Place
    /// The last place that both histories have in common. It names the present epoch, so a
    /// subscription after it goes on. Position 0 if nothing is known to be in common.
    public let shared: Place
    /// The last position of the ledger.
    public let head: Position

    package init(place: Place, shared: Place, head: Position) {
        self.place = place
        self.shared = shared
        self.head = head
    }

    /// Reads what ``json`` writes; `nil` for any other text.
    package init?(json: String) {
        guard let place = JSONText.text("place", in: json).flatMap({ Place($0) }),
            let shared = JSONText.text("shared", in: json).flatMap({ Place($0) }),
            let head = JSONText.text("head", in: json).flatMap({ Position(position: $0) })
        else { return nil }
        self.init(place: place, shared: shared, head: head)
    }

    /// The data of the event `diverged` of a stream.
    package var json: String { #"{"place":"\#(place)","shared":"\#(shared)","head":"\#(head)"}"# }

    public var description: String {
        "the ledger no longer has what this reader has: it had come to \(place), and shares its events up to "
            + "position \(shared.position) with the ledger, which now ends at position \(head); "
            + "to go on with the ledger's events, start after \(shared)"
    }
}
