import BlockingIO
import EventStore
import Logging
import Postgres

/// Waits, at the start of a service, for a ledger that cannot be reached, as relays, projectors and
/// sealers do.
struct LedgerWait {
    let store: EventStore
    let logger: Logger

    /// How often the log says that the service still waits.
    private static let reminder = Duration.seconds(30)
    /// How many attempts in a row the server itself may refuse. One may be a server that has just
    /// started.
    private static let mostRefusals = 1

    /// Returns once the ledger answers. Each attempt tries to connect for the store's time limit.
    /// - Throws: the last error where waiting does not help: there is no ledger, or its server
    ///   refuses the connection, as for a wrong password; what a cancelled task throws.
    func run() async throws {
        var backoff = Backoff()
        var reminded: ContinuousClock.Instant?
        var refusals = 0
        while true {
            do {
                _ = try await store.head()
                if reminded != nil { logger.notice("the ledger answers") }
                return
            } catch let error as PostgresError where error.isRetriable {
                refusals = await isRefusal(error) ? refusals + 1 : 0
                guard refusals <= Self.mostRefusals else { throw error }
                if refusals == 0, reminded.map({ $0.duration(to: .now) >= Self.reminder }) ?? true {
                    logger.warning(
                        "the ledger cannot be reached: the service waits for it before it listens",
                        metadata: ["error": "\(error)"])
                    reminded = .now
                }
                try await backoff.pause()
            }
        }
    }

    /// Whether a server has answered that it does not want the connection. One that takes no writes
    /// at the moment is not meant: it may be in a switchover.
    private func isRefusal(_ error: PostgresError) async -> Bool {
        guard error.kind == .cannotConnect, error.sqlState != .readOnly else { return false }
        return await store.pool.isAnswered()
    }
}
