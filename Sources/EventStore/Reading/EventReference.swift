package import LedgerCore

/// How a user refers to an event: by position or by id.
package enum EventReference: Sendable, Equatable {
    case position(Position)
    case id(EventID)

    /// `nil` if `text` is neither a position nor a UUID.
    package init?(_ text: String) {
        if let position = Position(position: text), position > 0, "\(position)" == text {
            self = .position(position)
        } else if let id = EventID(text: text) {
            self = .id(id)
        } else {
            return nil
        }
    }
}
