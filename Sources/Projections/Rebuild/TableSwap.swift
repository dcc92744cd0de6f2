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

    /// How long one attempt waits for the locks, in milliseconds. New readers queue behind a
    /// waiting exclusive lock, so attempts are short, with pauses that let readers pass. A long
    /// query then delays the swap, not the readers.
    private static let lockTimeout = 50
    /// How long attempts are repeated.
    private static let timeout = Duration.seconds(600)

    /// Locks the tables on both sides, in the caller's transaction. Throws
    /// ``SQLState/lockNotAvailable`` if somebody else uses one of them. Tables of the ledger that
    /// are no read models are not locked, and ``swap(on:)`` refuses them.
    func lock(on connection: PostgresConnection) async throws {
        let names = try await connection.query(Self.namesToLock, fresh, ledger.text, tables).only()
            .decode(0, as: String?.self)
        guard let names else { return }
        // From here on no statement of this transaction waits longer for a lock.
        try await connection.execute(
            script: "SET LOCAL lock_timeout = '\(Self.lockTimeout)ms'; LOCK TABLE \(names) IN ACCESS EXCLUSIVE MODE")
    }

    private static let namesToLock = """
        SELECT string_agg(format('%I.%I', schema, name), ', ' ORDER BY place)
          FROM unnest(ARRAY[$1, $2]) WITH ORDINALITY AS side (schema, place), unnest($3) AS name
         WHERE EXISTS (SELECT FROM pg_class
                        WHERE oid = to_regclass(format('%I.%I', schema, name)) AND relkind = 'r')
           AND (schema <> $2 OR name IN (SELECT read_models.name FROM read_models))
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
        _ projection: String, waiting: () -> Void, _ attempt: () async throws -> T
    ) async throws -> T {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        var backoff = Backoff(first: .milliseconds(100), longest: .seconds(1))
        while true {
            do {
                return try await attempt()
            } catch let error where error is Rebuild.Busy || (error as? PostgresError)?.sqlState == .lockNotAvailable {
                guard ContinuousClock.now < deadline else { throw InUse(projection: projection) }
                waiting()
                try await backoff.pause()
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
        return try await TableSwap.untilFree(definition.name, waiting: noteWait) {
            try await catchUp(&record, on: connection, progress: progress)
            let position = record.position ?? 0
            return try await ReplayLock.withLock(
                ReplayLock.swap(definition.name, ledger), of: definition.name, timeout: .zero, on: connection
            ) {
                try await swap(id, at: position, proof, since: start, on: connection)
            }
        }
    }

    private func swap(
        _ id: Int64, at position: Position, _ proof: RebuildProof, since start: ContinuousClock.Instant,
        on connection: PostgresConnection
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

            try await swap.lock(on: connection)
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
