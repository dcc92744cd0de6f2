package import LedgerCore
package import Postgres

/// The right to be the one at work among several processes that could be: see the table `leases`.
package struct Lease: Sendable {
    package let name: String
    package let holder: String
    /// A holder that was killed is replaced after this time at the latest; a holder renews every
    /// ``renewal``.
    package static let duration = Duration.seconds(3)
    package static let renewal = Duration.seconds(1)

    /// - Parameter holder: tells this process and reader from all others.
    package init(_ name: String, holder: String) {
        self.name = name
        self.holder = holder
    }

    /// Takes the lease, or renews it. False while another holds it.
    package func take(on connection: PostgresConnection) async throws -> Bool {
        let milliseconds = Int64(Self.duration / .milliseconds(1))
        return try await connection.query(
            "SELECT take_lease($1, $2, make_interval(secs => $3::bigint / 1000.0))", name, holder, milliseconds
        ).only().decode(0, as: Int64?.self) != nil
    }

    /// Gives the lease up, so that another can take it at once; also when the task is cancelled,
    /// which is when it matters most. Where the connection does not work any more, the lease runs
    /// out by itself.
    package func giveUp(on connection: PostgresConnection) async {
        let task = Task {
            guard await connection.isUsable() else { return }
            _ = try? await connection.query("SELECT release_lease($1, $2)", name, holder)
        }
        await task.value
    }
}

/// A reader's last processed position, moved by compare-and-swap only.
package struct Checkpoint: Sendable {
    package let reader: String

    package init(_ reader: String) { self.reader = reader }

    /// Where the reader stands; 0 when it has never read.
    package func load(on connection: PostgresConnection) async throws -> Position {
        try await connection.query(
            "INSERT INTO checkpoints (reader) VALUES ($1) ON CONFLICT (reader) DO NOTHING", reader)
        return try await connection.query("SELECT position FROM checkpoints WHERE reader = $1", reader).only().decode(0)
    }

    /// Moves it from one position to another. False where it is not at `from`: somebody else has
    /// moved it.
    package func advance(from: Position, to: Position, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query("SELECT advance_checkpoint($1, $2, $3)", reader, from, to).only().decode(0)
    }
}
