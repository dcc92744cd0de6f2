import Postgres

/// The transaction that has locked the log: all appenders wait for it. See `log_holder()`.
public struct LogLockHolder: Sendable, Equatable {
    /// Its server process; `nil` for a prepared transaction, which has none.
    public var process: Int32?
    /// The name under which it was prepared.
    public var preparedAs: String?
    public var user: String
    public var application: String?
    /// Tells it from all other transactions of its session.
    public var transaction: String
    /// For how long it has been open, where the owner of the ledger may know.
    public var age: Duration?
    /// How many wait for it, and the longest of them for how long.
    public var waiting: Int64
    public var longestWait: Duration?

    /// Nobody is interested in one that is about to commit: from here on it is worth a word.
    public static let notable = Duration.seconds(5)

    /// For how long it has held the log, as far as one look can tell: no longer than it has been open, and at least as long as others wait.
    public var heldFor: Duration { max(age ?? .zero, longestWait ?? .zero) }

    public static let statement = PostgresStatement(
        """
        SELECT pid, gid, coalesce(username, '?'), application, transaction, extract(epoch FROM held_for)::float8, waiting,
               extract(epoch FROM longest_wait)::float8
          FROM log_holder()
        """)

    /// - Parameter rows: of ``statement``; `nil` comes of none.
    public init?(_ rows: PostgresRows) throws(PostgresError) {
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

    public var name: String {
        if let preparedAs { return "the prepared transaction \(preparedAs) of \(user)" }
        return "process \(process ?? 0) of \(user)\(application.map { $0.isEmpty ? "" : " (\($0))" } ?? "")"
    }
}
