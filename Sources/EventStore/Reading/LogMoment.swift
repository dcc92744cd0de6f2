package import LedgerCore
import Postgres

/// A point in the log's history: a position, or a time. A time refers to the last position that was
/// recorded by then.
package enum LogMoment: Sendable, Equatable {
    case position(Position)
    case time(Timestamp)

    /// `nil` if `text` is neither a position nor a time in RFC 3339.
    package init?(_ text: String) {
        if let number = Position(position: text) {
            self = .position(number)
        } else if let time = Timestamp(text) {
            self = .time(time)
        } else {
            return nil
        }
    }

    /// The problem with a text that is not a moment. It follows the option's name in a message.
    package static func problem(with text: String) -> String {
        Position(decimal: text) == nil
            ? Timestamp.problem(with: text).replacing(
                "must be a time", with: "must be a position or a time", maxReplacements: 1)
            : """
            must be a position from 0 to \(Position.positions.upperBound), or a time, not \
            \(text.shortened(toBytes: 60))
            """
    }
}

extension EventStore {
    /// The position of a moment, at most the log's last position.
    package func position(of moment: LogMoment) async throws -> Position {
        switch moment {
        case .position(let position): min(position, try await head())
        case .time(let time): try await position(at: time)
        }
    }

    /// The first position at or after a moment. If there is none yet, the position after the last.
    package func firstPosition(from moment: LogMoment) async throws -> Position {
        switch moment {
        case .position(let position): max(1, min(position, try await head() + 1))
        case .time(let time): try await position(at: Timestamp(microseconds: time.microseconds - 1)) + 1
        }
    }
}
