package import LedgerCore
package import Postgres

/// The right of one process among several to do some work: see the table `leases`.
package struct Lease: Sendable {
    package let name: String
    package let holder: String
    package let times: LeaseTimes

    /// - Parameter holder: identifies this process and reader among all others.
    package init(_ name: String, holder: String, times: LeaseTimes = .standard) {
        self.name = name
        self.holder = holder
        self.times = times
    }

    /// Takes the lease, or renews it. False while another holds it.
    package func take(on connection: PostgresConnection) async throws -> Bool {
        try await connection.query(
            "SELECT take_lease($1, $2, make_interval(secs => $3::bigint / 1000.0))", name, holder, times.milliseconds
        ).only().decode(0, as: Int64?.self) != nil
    }

    /// Releases the lease, so that another process can take it at once. It also works in a
    /// cancelled task, where it matters most. If the connection does not work any more, the lease
    /// expires.
    package func giveUp(on connection: PostgresConnection) async {
        let task = Task {
            guard await connection.isUsable() else { return }
            _ = try? await connection.query("SELECT release_lease($1, $2)", name, holder)
        }
        await task.value
    }
}

/// A reader's last processed position. It moves only by compare-and-swap.
package struct Checkpoint: Sendable {
    package let reader: String

    package init(_ reader: String) { self.reader = reader }

    /// Where the reader stands; 0 when it has never read.
    package func load(on connection: PostgresConnection) async throws -> Position {
        try await connection.query(
            "INSERT INTO checkpoints (reader) VALUES ($1) ON CONFLICT (reader) DO NOTHING", reader)
        return try await connection.query("SELECT position FROM checkpoints WHERE reader = $1", reader).only().decode(0)
    }

    /// Moves it from one position to another. False if it is not at `from`: another process has
    /// moved it.
    package func advance(from: Position, to: Position, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query("SELECT advance_checkpoint($1, $2, $3)", reader, from, to).only().decode(0)
    }
}
