import BlockingIO
package import LedgerCore
package import Postgres

/// The level of durability that the ledger demands, as far as this process knows.
///
/// What it knows may be some seconds old, so a reader heeds a new demand some seconds later. An
/// append need not know: the database raises the level of its commit.
package final class DurabilityDemand: Sendable {
    private struct Known {
        var level: Durability
        var since: ContinuousClock.Instant
    }

    private let known = Locked<Known?>(nil)
    /// How long an answer is believed.
    private static let longestAge = Duration.seconds(2)

    package init() {}

    /// The ledger demands this level from now on.
    func learned(_ level: Durability) { known.withLock { $0 = Known(level: level, since: .now) } }

    /// Asks the ledger on `connection`, unless it was asked lately.
    package func level(on connection: PostgresConnection) async throws -> Durability {
        let now = ContinuousClock.now
        if let known = known.withLock({ $0 }), known.since.duration(to: now) < Self.longestAge { return known.level }
        let level = try await connection.demandedDurability()
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
