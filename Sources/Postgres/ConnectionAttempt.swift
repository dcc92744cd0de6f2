import BlockingIO
import CLibpq
import Dispatch

/// A connection that libpq makes on a thread of its own.
///
/// PQconnectdbParams blocks for up to `connect_timeout` with each address of each host, and nothing
/// ends it: a server that was stopped accepts the connection, and says nothing. So whoever waits
/// can leave the attempt, which then ends by itself.
final class ConnectionAttempt: Sendable {
    private enum State {
        case underWay
        /// The address of the `PGconn`; `nil` if there was no memory for one. It belongs to the
        /// thread that makes it, and from here on to whoever takes it.
        case made(UInt?)
        case abandoned
    }
    private let state = Locked(State.underWay)
    private let interrupt: Interrupt

    /// Begins the attempt.
    /// - Parameters:
    ///   - settings: what libpq is given.
    ///   - interrupt: rung when the attempt has ended.
    init(_ settings: [(name: String, value: String)], ringing interrupt: Interrupt) {
        self.interrupt = interrupt
        DispatchQueue(label: "postgres-connect").async {
            // Only this function gives each host its own timeout.
            let connection = withCSettings(settings) { PQconnectdbParams($0, $1, 1) }
            let isWanted = self.state.withLock { state in
                if case .abandoned = state { return false }
                state = .made(connection.map { UInt(bitPattern: $0) })
                return true
            }
            if isWanted { interrupt.ring() } else { PQfinish(connection) }
        }
    }

    /// Waits for the end of the attempt.
    /// - Parameters:
    ///   - limit: for how long; `nil` for as long as libpq takes.
    ///   - isInVain: looked at whenever the interrupt is rung: whether to leave the attempt.
    /// - Returns: the connection, which the caller has to finish, whether it is good or bad; `nil`
    ///   if there was no memory for one.
    /// - Throws: where the attempt was left.
    func connection(within limit: Duration?, unless isInVain: () -> Bool) throws(PostgresError) -> OpaquePointer? {
        let deadline = limit.map { ContinuousClock.now.advanced(by: $0) }
        while true {
            if let made { return OpaquePointer(bitPattern: made ?? 0) }
            if isInVain() {
                abandon()
                throw .cannotConnect("another server leads since this one was asked", isOvertaken: true)
            }
            let rest = deadline.map { ContinuousClock.now.duration(to: $0) }
            if let limit, let rest, rest <= .zero {
                abandon()
                throw .cannotConnect("no answer within \(limit)")
            }
            // The end of the attempt rings.
            _ = interrupt.wait(for: .readable, on: -1, within: rest)
        }
    }

    private var made: UInt?? {
        state.withLock { state in
            if case .made(let connection) = state { connection } else { nil }
        }
    }

    private func abandon() {
        let unwanted = state.withLock { state -> UInt? in
            defer { state = .abandoned }
            return if case .made(let connection) = state { connection } else { nil }
        }
        // It was made in the meantime, and nobody else has it.
        PQfinish(unwanted.flatMap { OpaquePointer(bitPattern: $0) })
    }
}
