package import LedgerCore
package import Postgres

/// The state of the log and its relay at one moment, for `jobledger status` and for the service's
/// health and metrics.
package struct LogStatus: Sendable {
    package var head: Position
    package var epoch: EventID
    /// All epochs, the present one last.
    package var epochs: [Epoch]
    /// The events up to here are published.
    package var published: Position
    /// The names of the leases that are held.
    package var heldLeases: Set<String>  // plain: leases are named by the ledger's own programs
    /// By how much the last event's time is ahead of the server's clock.
    package var clockAhead: Duration
    /// The level that the ledger demands of each event.
    package var demand: Durability
    /// The standbys that the server waits for, as `synchronous_standby_names` has them; empty for
    /// none.
    package var standbys: String
    package var isStandby: Bool
    /// Of the write-ahead log, eight hexadecimal digits; `nil` on a standby.
    package var timeline: String?
    /// Why nothing can be appended; `nil` if appends are possible. It is found without writing.
    package var readOnly: String?

    /// An epoch of the ledger, as the table `epochs` has it.
    package struct Epoch: Sendable, Equatable {
        package var epoch: EventID
        /// The first position that belongs to it.
        package var firstPosition: Position
        package var beganAt: Timestamp
        package var reason: String
    }

    /// - Parameter relay: the name under which the relay keeps its position.
    package static func statement(relay: String) -> PostgresStatement {
        PostgresStatement(
            """
            SELECT head() AS head, (SELECT epoch FROM ledger) AS epoch,
                   coalesce((SELECT position FROM checkpoints WHERE reader = $1), 0) AS published,
                   ARRAY(SELECT name FROM leases WHERE is_held(expires_at)) AS held, \(LogClock.secondsAhead) AS ahead,
                   CASE WHEN pg_is_in_recovery() THEN 'the server is a standby'
                        WHEN current_setting('transaction_read_only')::bool THEN 'sessions are read-only'
                   END AS read_only,
                   (SELECT durability FROM ledger) AS demand,
                   current_setting('synchronous_standby_names') AS standbys, pg_is_in_recovery() AS is_standby,
                   CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8)
                   END AS timeline,
                   ARRAY(SELECT epoch FROM epochs ORDER BY number) AS epochs,
                   ARRAY(SELECT first_position FROM epochs ORDER BY number) AS first_positions,
                   ARRAY(SELECT began_at FROM epochs ORDER BY number) AS began_ats,
                   ARRAY(SELECT reason FROM epochs ORDER BY number) AS reasons
            """, [relay])
    }

    /// - Parameter rows: the rows of ``statement(relay:)``.
    package init(_ rows: PostgresRows) throws(PostgresError) {
        let row = try rows.only()
        head = try row.decode("head")
        epoch = try row.decode("epoch")
        let firstPositions = try row.decode("first_positions", as: [Position].self)
        let beganAts = try row.decode("began_ats", as: [PostgresTimestamp].self)
        let reasons = try row.decode("reasons", as: [String].self)
        epochs = try row.decode("epochs", as: [EventID].self).enumerated().map { index, epoch in
            Epoch(
                epoch: epoch, firstPosition: firstPositions[index], beganAt: Timestamp(beganAts[index]),
                reason: reasons[index])
        }
        published = try row.decode("published")
        heldLeases = Set(try row.decode("held", as: [String].self))
        clockAhead = .seconds(try row.decode("ahead", as: Double.self))
        readOnly = try row.decode("read_only")
        demand = try Durability(column: try row.decode("demand"))
        standbys = try row.decode("standbys")
        isStandby = try row.decode("is_standby")
        timeline = try row.decode("timeline")
    }
}
