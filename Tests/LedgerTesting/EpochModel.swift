package import LedgerCore

/// The table `epochs` and the function `shared_position()` as plain values.
package struct EpochModel: Sendable {
    package struct Epoch: Sendable {
        package var digits: EpochDigits
        package var first: Position

        package init(digits: EpochDigits, first: Position) {
            self.digits = digits
            self.first = first
        }
    }

    package var epochs: [Epoch]

    package init(_ epochs: [Epoch] = []) { self.epochs = epochs }

    package mutating func begin(_ digits: EpochDigits, first: Position) {
        epochs.append(Epoch(digits: digits, first: first))
    }

    package func shared(_ place: Place, head: Position) -> Position {
        let bound = min(place.position, head)
        guard let digits = place.epoch else { return bound }
        guard let index = epochs.lastIndex(where: { $0.digits == digits }) else { return 0 }
        return epochs[(index + 1)...].reduce(bound) { min($0, $1.first - 1) }
    }
}
