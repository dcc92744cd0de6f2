/// Something that is counted while somebody has it. It is given back when nobody holds this any
/// more: whoever forgets it, throws on the way or is never run, as the body of an answer whose
/// client has gone, keeps nothing.
final class Reservation: Sendable {
    private let giveBack: @Sendable () -> Void

    init(_ giveBack: @escaping @Sendable () -> Void) { self.giveBack = giveBack }

    deinit { giveBack() }
}
