/// Something that counts while this object lives. Its release cannot be forgotten, even if an error
/// is thrown or the body of an answer never runs because its client has gone.
final class Reservation: Sendable {
    private let giveBack: @Sendable () -> Void

    init(_ giveBack: @escaping @Sendable () -> Void) { self.giveBack = giveBack }

    deinit { giveBack() }
}
