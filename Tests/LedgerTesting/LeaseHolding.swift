import EventStore
package import Postgres

/// Who holds a lease.
package struct LeaseHolding: Sendable, Equatable {
    package let holder: String
    /// Counts the changes of the holder. Two holdings with fences that differ by one show that the
    /// lease changed hands once.
    package let fence: Int64

    package init(holder: String, fence: Int64) {
        self.holder = holder
        self.fence = fence
    }

    /// - Returns: `nil` if nobody has ever taken the lease.
    package static func load(_ lease: String, on connection: PostgresConnection) async throws -> LeaseHolding? {
        try await connection.query("SELECT holder, fence FROM leases WHERE name = $1", lease).first.map {
            LeaseHolding(holder: try $0.decode(0), fence: try $0.decode(1))
        }
    }
}

extension TestLedger {
    /// - Returns: `nil` if nobody has ever taken the lease.
    package func holding(of lease: String) async throws -> LeaseHolding? {
        try await store.pool.withConnection { try await LeaseHolding.load(lease, on: $0) }
    }
}
