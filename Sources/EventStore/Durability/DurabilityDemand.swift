import BlockingIO
package import LedgerCore
package import Postgres

/// The level of durability that the ledger demands, as far as this process knows.
///
/// What it knows may be some seconds old, which costs time and never safety: the database raises
/// the level of a commit that was sent in ignorance, and a needless confirmation only waits.
package final class DurabilityDemand: Sendable {
    private struct Known {
        var level: Durability
        var since: ContinuousClock.Instant
    }

    private let known = Locked<Known?>(nil)
    /// How long an answer is believed.
    private static let longestAge = Duration.seconds(2)

    package init() {}

    /// What the ledger answered last; local before it was asked.
    package var lastKnown: Durability { known.withLock { $0?.level } ?? .local }

    /// The ledger demands this level from now on.
    func learned(_ level: Durability) { known.withLock { $0 = Known(level: level, since: .now) } }

    /// Asks the ledger on `connection`, unless it was asked lately.
    package func level(on connection: PostgresConnection) async throws -> Durability {
        let now = ContinuousClock.now
        if let known = known.withLock({ $0 }), known.since.duration(to: now) < Self.longestAge { return known.level }
        // A server that does not answer would not cancel the question either.
        let question = PostgresStatement("SELECT demanded_durability()", endsByClosing: true)
        let text: String = try await connection.query(question).only().decode(0)
        let level = try Durability(column: text)
        learned(level)
        return level
    }
}

extension Durability {
    package init(column text: String) throws(PostgresError) {
        guard let level = Durability(rawValue: text) else {
            throw .unexpected("the ledger demands the unknown level of durability \(text)")
        }
        self = level
    }
}
