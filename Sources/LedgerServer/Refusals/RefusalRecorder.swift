import BlockingIO
import EventStore
import LedgerCore
import Logging
import Postgres
import Synchronization

/// What was refused, on its way into the table `refusals`.
///
/// To note something down never waits, and never fails a request: it is written about once a
/// second, equal ones as one row. Whoever sends ever new nonsense gets so many rows a second and no
/// more; the rest is counted in a row of its kind, without job and type. How many rows a day are
/// kept, and for how long, the table itself sees to; what has had its time is removed from here.
final class RefusalRecorder: Sendable {
    private struct Entry: Sendable {
        var attempt: RefusedAttempt
        var first: ContinuousClock.Instant
        var last: ContinuousClock.Instant
        var times: Int64
    }

    private struct Batch: Sendable {
        var entries: [RefusedAttempt.Kind: Entry] = [:]
        var order: [RefusedAttempt.Kind] = []
        /// How many rows each token has, or each network without one.
        var rows: [ExactText: Int] = [:]
    }

    private let store: EventStore
    private let logger: Logger
    private let batch = Locked(Batch())
    private let failed = Atomic<Int>(0)

    /// How often writing has failed.
    var failures: Int { failed.load(ordering: .relaxed) }

    /// How often it is written.
    static let interval = Duration.seconds(1)
    /// How often what is older than it is kept for is removed.
    private static let removalInterval = Duration.seconds(600)
    /// The most rows that one token gets in that time, and that an address gets without a token
    /// that works.
    static let maxRowsPerToken = 50
    static let maxRowsPerAddress = 5
    /// The most rows of all.
    static let maxRows = 500

    init(store: EventStore, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// - Parameter isKnown: whether the token is one that works.
    func record(_ attempt: RefusedAttempt, isKnown: Bool) {
        let now = ContinuousClock.now
        batch.withLock { batch in
            let who: ExactText =
                attempt.kind.token.flatMap { isKnown ? "token \($0)" : nil }
                ?? "network \(PeerNetwork.of(attempt.kind.peer?.text))"
            if batch.entries[attempt.kind] == nil {
                let limit = isKnown ? Self.maxRowsPerToken : Self.maxRowsPerAddress
                if batch.rows[who, default: 0] < limit, batch.order.count < Self.maxRows {
                    batch.rows[who, default: 0] += 1
                    return Self.add(attempt, now, to: &batch)
                }
                return Self.addToRest(attempt, isKnown, now, to: &batch)
            }
            Self.count(attempt.kind, now, in: &batch)
        }
    }

    private static func add(_ attempt: RefusedAttempt, _ now: ContinuousClock.Instant, to batch: inout Batch) {
        batch.entries[attempt.kind] = Entry(attempt: attempt, first: now, last: now, times: 1)
        batch.order.append(attempt.kind)
    }

    private static func count(_ kind: RefusedAttempt.Kind, _ now: ContinuousClock.Instant, in batch: inout Batch) {
        batch.entries[kind]?.times += 1
        batch.entries[kind]?.last = now
    }

    /// Counts it among others of the same code: of the same token or address, or where there are
    /// too many of those too, of anybody.
    private static func addToRest(
        _ attempt: RefusedAttempt, _ isKnown: Bool, _ now: ContinuousClock.Instant, to batch: inout Batch
    ) {
        var rest = attempt
        rest.eventID = nil
        rest.detail = "more of this kind than are told one by one"
        (rest.kind.actor, rest.kind.job, rest.kind.type) = (nil, nil, nil)
        if !isKnown { rest.kind.token = nil }
        if batch.entries[rest.kind] == nil, batch.order.count >= 2 * Self.maxRows {
            (rest.kind.token, rest.kind.peer) = (nil, nil)
        }
        if batch.entries[rest.kind] == nil { add(rest, now, to: &batch) } else { count(rest.kind, now, in: &batch) }
    }

    /// Writes what was noted, about once a second, until it is cancelled; and then the rest.
    func run() async {
        var next = ContinuousClock.now
        while (try? await Task.sleep(for: Self.interval)) != nil {
            await write()
            guard ContinuousClock.now >= next else { continue }
            next = .now.advanced(by: Self.removalInterval)
            await removeExpired()
        }
        // Cancelled: a task of its own may still wait for Postgres.
        await Task { await write() }.value
    }

    private func write() async {
        let entries = batch.withLock { batch in
            let entries = batch.order.compactMap { batch.entries[$0] }
            batch = Batch()
            return entries
        }
        guard !entries.isEmpty else { return }
        do {
            _ = try await store.pool.withConnection { connection in
                try await connection.query(
                    PostgresStatement(Self.statement, Self.parameters(entries), isPrepared: true))
            }
        } catch {
            // Kept for the next time, as far as there is room; what is not is at least told here.
            let lost = putBack(entries)
            failed.add(1, ordering: .relaxed)
            logger.warning(
                "refusals could not be written to the ledger",
                metadata: ["error": "\(error)", "kept": "\(entries.count - lost)", "lost": "\(lost)"])
        }
    }

    /// Until nothing is left that has had its time; each step takes some thousands.
    private func removeExpired() async {
        do {
            var gone: Int64 = 1
            while gone > 0 {
                gone = try await store.pool.withConnection {
                    try await $0.query("SELECT forget_refusals()").only().decode(0)
                }
            }
        } catch {
            guard !Task.isCancelled else { return }
            logger.warning("old refusals could not be removed", metadata: ["error": "\(error)"])
        }
    }

    /// Puts back what could not be written.
    /// - Returns: how many there was no room for.
    private func putBack(_ entries: [Entry]) -> Int {
        batch.withLock { batch in
            var lost = 0
            for old in entries {
                let kind = old.attempt.kind
                if let new = batch.entries[kind] {
                    batch.entries[kind]?.first = min(old.first, new.first)
                    batch.entries[kind]?.times += old.times
                } else if batch.order.count < Self.maxRows {
                    batch.entries[kind] = old
                    batch.order.append(kind)
                } else {
                    lost += 1
                }
            }
            return lost
        }
    }

    private static let statement =
        "SELECT note_refusals($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"

    private static func parameters(_ entries: [Entry]) -> [any PostgresEncodable] {
        let kinds = entries.map(\.attempt.kind)
        // The time is the database's to tell: it is told how long ago.
        let now = ContinuousClock.now
        func ago(_ instant: ContinuousClock.Instant) -> Int64 { Int64(instant.duration(to: now) / .milliseconds(1)) }
        return [
            entries.map { ago($0.first) }, entries.map { ago($0.last) }, entries.map(\.times),
            kinds.map(\.token),
            kinds.map(\.peer), kinds.map(\.method), kinds.map(\.path), kinds.map(\.actor), kinds.map(\.job),
            kinds.map(\.type),
            entries.map(\.attempt.eventID), kinds.map(\.code), entries.map(\.attempt.detail),
        ]
    }
}
