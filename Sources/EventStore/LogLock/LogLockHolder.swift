package import Postgres

/// The transaction that has locked the log: all appenders wait for it. See `log_holder()`.
package struct LogLockHolder: Sendable, Equatable {
    /// Its server process; `nil` for a prepared transaction, which has none.
    package var process: Int32?
    /// The name under which it was prepared.
    package var preparedAs: String?
    package var user: String
    package var application: String?
    /// Tells it from all other transactions of its session.
    package var transaction: String
    /// For how long it has been open; `nil` if the ledger's owner may not see it.
    package var age: Duration?
    /// How many transactions wait for it, and how long the longest of them has waited.
    package var waiting: Int64
    package var longestWait: Duration?
    /// For how long this process has seen it: see ``LogLockTimer``.
    package var seenFor = Duration.zero

    /// A holder is reported after this time. Most holders commit much sooner.
    package static let notable = Duration.seconds(5)

    /// For how long it has held the log, as far as it is known: about as long as it has been open,
    /// and at least ``knownHold``.
    package var heldFor: Duration { max(age ?? .zero, knownHold) }

    /// For how long others have certainly waited for it, or would have. Unlike its age, this leaves
    /// out what a transaction did before it locked the log.
    package var knownHold: Duration { max(longestWait ?? .zero, seenFor) }

    package static let statement = PostgresStatement(
        """
        SELECT pid, gid, coalesce(username, '?'), application, transaction,
               extract(epoch FROM held_for)::float8, waiting,
               extract(epoch FROM longest_wait)::float8
          FROM log_holder()
        """)

    /// - Parameter rows: the rows of ``statement``. The result is `nil` if there are none.
    package init?(_ rows: PostgresRows) throws(PostgresError) {
        guard let row = rows.first else { return nil }
        process = try row.decode(0)
        preparedAs = try row.decode(1)
        user = try row.decode(2)
        application = try row.decode(3)
        transaction = try row.decode(4)
        age = try row.decode(5, as: Double?.self).map { .seconds($0) }
        waiting = try row.decode(6)
        longestWait = try row.decode(7, as: Double?.self).map { .seconds($0) }
    }

    /// The statement that ends it.
    package var ending: String {
        // A name may contain a quote.
        if let preparedAs { return "ROLLBACK PREPARED '\(preparedAs.replacing("'", with: "''"))'" }
        return "SELECT pg_terminate_backend(\(process ?? 0))"
    }

    package var name: String {
        if let preparedAs { return "the prepared transaction \(preparedAs) of \(user)" }
        return "process \(process ?? 0) of \(user)\(application.map { $0.isEmpty ? "" : " (\($0))" } ?? "")"
    }
}
