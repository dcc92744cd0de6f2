package import LedgerCore
import Postgres

/// A place in the log's past, as people name it: a position, or a time, which names the last
/// position that was recorded by then.
package enum LogMoment: Sendable, Equatable {
    case position(Position)
    case time(Timestamp)

    /// `nil` for what is neither a position nor a time in RFC 3339.
    package init?(_ text: String) {
        if let number = Position(position: text) {
            self = .position(number)
        } else if let time = Timestamp(text) {
            self = .time(time)
        } else {
            return nil
        }
    }

    /// What is wrong with a text that is no moment, to be read behind the name of what it was given
    /// for.
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
    /// The position that a moment names, no later than the log's end.
    package func position(of moment: LogMoment) async throws -> Position {
        switch moment {
        case .position(let position): min(position, try await head())
        case .time(let time): try await position(at: time)
        }
    }

    /// The first position at a moment or after it: the end of the log and one more where there is
    /// none yet.
    package func firstPosition(from moment: LogMoment) async throws -> Position {
        switch moment {
        case .position(let position): max(1, min(position, try await head() + 1))
        case .time(let time): try await position(at: Timestamp(microseconds: time.microseconds - 1)) + 1
        }
    }
}
