import BlockingIO
import EventStore
import LedgerCore
import Postgres

/// Swaps tables between two schemas. This is the only moment at which readers wait for a rebuild.
struct TableSwap: Sendable {
    let ledger: LedgerName
    let tables: [String]
    /// The schema of the tables that come into use, and the one for the tables that are replaced.
    let fresh: String
    let aside: String

    /// How long attempts are repeated.
    private static let timeout = Duration.seconds(600)

    /// How long an attempt waits for each lock. New readers queue behind a waiting exclusive lock,
    /// so the first attempts are short: a long query then delays the swap, and not the readers. On
    /// a busy machine every query may take longer than that, one after another, so that no short
    /// attempt ever succeeds. Each attempt therefore waits longer than the one before, and the
    /// pause behind it is ten times as long: readers wait at most for a tenth of the time. The
    /// longest wait is shorter than the standard `deadlock_timeout` of a second, so it is never a
    /// reader who is ended.
    struct Patience: Sendable {
        private(set) var wait = Duration.milliseconds(50)
        private static let longest = Duration.milliseconds(500)
        var pause: Duration { wait * 10 }

        mutating func grow() { wait = min(wait * 1.25, Self.longest) }

        /// As a value of `lock_timeout`.
        var setting: String { "\(Int(wait / .milliseconds(1)))ms" }
    }

    /// Locks the tables on both sides, and before them the views that the swap makes anew, in the
    /// caller's transaction. A query through a view locks the view first and then its tables, so
    /// in the other order each would wait for the other. Throws ``SQLState/lockNotAvailable`` if
    /// somebody else uses one of them. Tables of the ledger that are no read models are not locked,
    /// and ``swap(on:)`` refuses them.
    func lock(for patience: Patience, on connection: PostgresConnection) async throws {
        let row = try await connection.query(Self.statementsThatLock, fresh, ledger.text, tables).only()
        let (views, locks) = (try row.decode(0, as: String?.self), try row.decode(1, as: String?.self))
        guard let locks else { return }
        // From here on no statement of this transaction waits longer for a lock.
        try await connection.execute(
            script: "SET LOCAL lock_timeout = '\(patience.setting)'; \(views.map { "\($0); " } ?? "")\(locks)")
    }

    /// Whoever may replace a view may also give it to its owner, which locks it and changes
    /// nothing. `LOCK TABLE` would lock what the view reads too, and ask for rights that its owner
    /// need not have.
    private static let statementsThatLock = """
        WITH used AS (
          SELECT to_regclass(format('%I.%I', schema, name)) AS oid, format('%I.%I', schema, name) AS name,
                 schema = $2 AS is_live, place
            FROM unnest(ARRAY[$1, $2]) WITH ORDINALITY AS side (schema, place), unnest($3) AS name
           WHERE EXISTS (SELECT FROM pg_class
                          WHERE oid = to_regclass(format('%I.%I', schema, name)) AND relkind = 'r')
             AND (schema <> $2 OR name IN (SELECT read_models.name FROM read_models))
        ), views AS (
          SELECT DISTINCT view.oid, format('ALTER VIEW %s OWNER TO %I', view.oid::regclass,
                                           pg_get_userbyid(view.relowner)) AS statement
            FROM used
            JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = used.oid
            JOIN pg_rewrite ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
            JOIN pg_class AS view ON view.oid = ev_class AND view.relkind = 'v'
           WHERE used.is_live
        )
        SELECT (SELECT string_agg(statement, '; ' ORDER BY oid) FROM views),
               'LOCK TABLE ' || string_agg(name, ', ' ORDER BY place, name) || ' IN ACCESS EXCLUSIVE MODE'
          FROM used
        """

    func swap(on connection: PostgresConnection) async throws {
        try await connection.query("SELECT swap_tables($1, $2, $3)", fresh, tables, aside)
    }

    struct InUse: Error, CustomStringConvertible {
        let projection: String
        var description: String {
            """
            \(projection): for \(TableSwap.timeout / .seconds(1)) s something held the tables without a pause: a long \
            query or transaction, a vacuum, or a verification. The rebuilt tables are kept: run rebuild again to go on \
            from there
            """
        }
    }

    /// Repeats `attempt`, a transaction with a swap in it, until it gets the tables. Between the
    /// attempts it holds no locks.
    /// - Parameter waiting: called before each pause.
    static func untilFree<T: Sendable>(
        _ projection: String, waiting: () -> Void, _ attempt: (Patience) async throws -> T
    ) async throws -> T {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        var patience = Patience()
        while true {
            do {
                return try await attempt(patience)
            } catch let error where error is Rebuild.Busy || (error as? PostgresError)?.isLockConflict == true {
                guard ContinuousClock.now < deadline else { throw InUse(projection: projection) }
                waiting()
                try await Task.sleep(for: patience.pause)
                patience.grow()
            }
        }
    }
}

extension Rebuild {
    /// Catches up, swaps the new tables in, and keeps the old ones.
    /// - Returns: how long readers waited.
    func swapIn(
        _ record: inout RebuildRecord, _ proof: RebuildProof, since start: ContinuousClock.Instant,
        on connection: PostgresConnection, progress: Progress
    ) async throws -> Duration {
        let id = record.id
        let noteWait = { tell(.waitingForTables) }
        return try await TableSwap.untilFree(definition.name, waiting: noteWait) { patience in
            try await catchUp(&record, on: connection, progress: progress)
            let position = record.position ?? 0
            return try await ReplayLock.withLock(
                ReplayLock.swap(definition.name, ledger), of: definition.name, timeout: .zero, on: connection
            ) {
                try await swap(id, at: position, proof, since: start, patience, on: connection)
            }
        }
    }

    private func swap(
        _ id: Int64, at position: Position, _ proof: RebuildProof, since start: ContinuousClock.Instant,
        _ patience: TableSwap.Patience, on connection: PostgresConnection
    ) async throws -> Duration {
        let fresh = Fold(definition, ledger: ledger, schema: "\(ledger)-\(id)")
        let durable = try await connection.durableHead()
        let locked = try await connection.transaction { connection in
            // A crash must not take back what the caller reports as done.
            try await connection.execute(script: "SET LOCAL synchronous_commit = on")
            try await LiveProjection.lockInstallation(on: connection)
            // From here to the end of the transaction the live projection stands still.
            let old = try await ProjectionState.lock(definition.name, on: connection)
            guard
                try await connection.query("DELETE FROM rebuilds WHERE id = $1 AND position = $2", id, position)
                    .affected == 1
            else {
                throw Overtaken(projection: definition.name)
            }
            // The live projection has folded only what is durable. What is not yet, it folds later.
            let head = max(durable, position, old?.position ?? 0)
            if position < head { try await fresh.apply(after: position, upTo: head, on: connection) }

            let tables = Array(Set(definition.tables).union(old?.tables ?? [])).sorted()
            let swap = TableSwap(ledger: ledger, tables: tables, fresh: fresh.schema, aside: "\(ledger)~\(id)")
            try await ReplacedTables.drop(definition.name, ledger: ledger, on: connection)
            if let old {
                try await ReplacedTables.keep(
                    old, tables: old.tables.isEmpty ? definition.tables : old.tables, as: id, on: connection)
            }
            try await Fold.createSharedSchema(swap.aside, of: ledger, on: connection)
            try await ProjectionState.register(definition, at: head, on: connection)

            try await swap.lock(for: patience, on: connection)
            let locked = ContinuousClock.now
            try await swap.swap(on: connection)
            try await connection.execute(
                script: "DROP SCHEMA \"\(fresh.schema)\""
                    + (old == nil ? "; DROP SCHEMA \"\(swap.aside)\" CASCADE" : ""))
            try await RecordedReceipt.add(
                .rebuild, definition, at: proof.position, digest: proof.fresh, live: proof.liveDigest,
                events: proof.position, duration: start.duration(to: .now), workers: workers, window: window,
                blocked: locked.duration(to: .now), by: author, on: connection)
            return locked
        }
        return locked.duration(to: .now)
    }
}
