public import Foundation

/// How far a reader has come, and in which history: `1207.3f2a9c1e`.
///
/// A position alone does not say which event it means. A ledger that failed over, or was restored,
/// may have lost its last events and given their positions to others. Each time that can have
/// happened, it begins another epoch. The ledger knows at which position each epoch began, so it
/// can say how much of a reader's history it still has.
///
/// A place without an epoch, `1207`, comes from a reader that knows positions only. It is taken to
/// be of the present history.
public struct Place: Sendable, Hashable {
    /// The last position that the reader has; 0 before the first.
    public var position: Position
    /// The epoch in which the reader has come to ``position``; `nil` if it is not known.
    public var epoch: EpochDigits?

    public init(_ position: Position, epoch: EpochDigits? = nil) {
        self.position = position
        self.epoch = epoch
    }

    /// Reads `POSITION.DIGITS` or `POSITION`; `nil` for any other text.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let position = Position(position: parts[0]) else { return nil }
        self.position = position
        guard parts.count == 2 else { return }
        guard let epoch = EpochDigits(parts[1]) else { return nil }
        self.epoch = epoch
    }

    public var text: String { epoch.map { "\(position).\($0.text)" } ?? "\(position)" }
}

extension Place: CustomStringConvertible {
    public var description: String { text }
}

extension Place: ExpressibleByIntegerLiteral {
    /// A place without an epoch.
    public init(integerLiteral position: Position) { self.init(position) }
}

/// The first eight hexadecimal digits of an epoch's UUID, by which a ``Place`` names the epoch.
///
/// Two of a ledger's epochs with the same digits are as unlikely as one in four billion. If it
/// happens, the ledger takes the earlier one of them, which can only repeat events, not lose them.
public struct EpochDigits: Sendable, Hashable, CustomStringConvertible {
    private let number: UInt32

    public init(_ epoch: EventID) {
        let bytes = epoch.uuid
        number = UInt32(bytes.0) << 24 | UInt32(bytes.1) << 16 | UInt32(bytes.2) << 8 | UInt32(bytes.3)
    }

    /// Reads exactly eight hexadecimal digits, in either case; `nil` for any other text.
    public init?(_ text: some StringProtocol) {
        let digits = text.utf8
        guard digits.count == 8, digits.first != UInt8(ascii: "+"), digits.first != UInt8(ascii: "-"),
            let number = UInt32(text, radix: 16)
        else { return nil }
        self.number = number
    }

    /// In lower case.
    public var text: String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    public var description: String { text }
}
