import BlockingIO
import EventStore
import LedgerCore
import Logging
import Postgres
import Synchronization

/// Collects refusals and writes them to the table `refusals`.
///
/// Recording never waits and never fails a request. About once a second the recorder writes what it
/// has; equal refusals are one row. A client that sends ever new nonsense gets a limited number of
/// rows a second; the rest is counted in a row for its code, without stream and type. The table
/// itself limits the rows of a day and how long they are kept; this type removes the expired ones.
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
        /// The number of rows of each token, or of each network without a valid token.
        var rows: [ExactText: Int] = [:]
    }

    private let store: EventStore
    private let logger: Logger
    private let batch = Locked(Batch())
    private let failed = Atomic<Int>(0)

    /// The number of failed writes.
    var failures: Int { failed.load(ordering: .relaxed) }

    /// The time between writes.
    static let interval = Duration.seconds(1)
    /// The time between removals of expired rows.
    private static let removalInterval = Duration.seconds(600)
    /// The maximum number of rows in one write for a token, and for a network without a valid
    /// token.
    static let maxRowsPerToken = 50
    static let maxRowsPerAddress = 5
    /// The maximum number of rows in one write.
    static let maxRows = 500

    init(store: EventStore, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// - Parameter isKnown: whether the token is valid.
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

    /// Counts a refusal in the row for its code and its token or address. If there are too many of
    /// those rows too, in one row for its code alone.
    private static func addToRest(
        _ attempt: RefusedAttempt, _ isKnown: Bool, _ now: ContinuousClock.Instant, to batch: inout Batch
    ) {
        var rest = attempt
        rest.eventID = nil
        rest.detail = "further refusals of this kind, counted together"
        (rest.kind.actor, rest.kind.category, rest.kind.job, rest.kind.type) = (nil, nil, nil, nil)
        if !isKnown { rest.kind.token = nil }
        if batch.entries[rest.kind] == nil, batch.order.count >= 2 * Self.maxRows {
            (rest.kind.token, rest.kind.peer) = (nil, nil)
        }
        if batch.entries[rest.kind] == nil { add(rest, now, to: &batch) } else { count(rest.kind, now, in: &batch) }
    }

    /// Writes about once a second until the task is cancelled, and then what is left.
    func run() async {
        var next = ContinuousClock.now
        while (try? await Task.sleep(for: Self.interval)) != nil {
            await write()
            guard ContinuousClock.now >= next else { continue }
            next = .now.advanced(by: Self.removalInterval)
            await removeExpired()
        }
        // This task is cancelled; a task of its own can still wait for Postgres.
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
            // Keep the refusals for the next write while there is room, and report how many are
            // lost.
            let lost = putBack(entries)
            failed.add(1, ordering: .relaxed)
            logger.warning(
                "refusals could not be written to the ledger",
                metadata: ["error": "\(error)", "kept": "\(entries.count - lost)", "lost": "\(lost)"])
        }
    }

    /// Removes expired rows. Each step removes some thousands, so repeat until none is left.
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
    /// - Returns: how many found no room.
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
        "SELECT note_refusals($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"

    private static func parameters(_ entries: [Entry]) -> [any PostgresEncodable] {
        let kinds = entries.map(\.attempt.kind)
        // The database's clock sets the times, so send how long ago each was.
        let now = ContinuousClock.now
        func ago(_ instant: ContinuousClock.Instant) -> Int64 { Int64(instant.duration(to: now) / .milliseconds(1)) }
        return [
            entries.map { ago($0.first) }, entries.map { ago($0.last) }, entries.map(\.times),
            kinds.map(\.token),
            kinds.map(\.peer), kinds.map(\.method), kinds.map(\.path), kinds.map(\.actor), kinds.map(\.job),
            kinds.map(\.type),
            entries.map(\.attempt.eventID), kinds.map(\.code), entries.map(\.attempt.detail),
            kinds.map(\.category?.text),
        ]
    }
}
