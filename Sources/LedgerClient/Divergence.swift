import Foundation
public import LedgerCore

/// The ledger no longer has all that a subscription has delivered: it failed over to a server that
/// lacked the last events, or an older state of it was restored.
public struct Divergence: Sendable, Equatable {
    /// What the subscription had.
    public let place: Place
    /// The last place that both histories have in common. All that was delivered after it is gone
    /// from the ledger. A subscription after it gets the ledger's events from there on.
    public let shared: Place
    /// The last position of the ledger.
    public let head: Position

    /// - Parameter json: the data of an event `diverged` of a stream.
    init?(json: [UInt8]) {
        struct Content: Decodable { var place, shared, head: String }
        guard let content = try? JSONDecoder().decode(Content.self, from: Data(json)),
            let place = Place(content.place), let shared = Place(content.shared),
            let head = Position(position: content.head)
        else { return nil }
        (self.place, self.shared, self.head) = (place, shared, head)
    }
}
