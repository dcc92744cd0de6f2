import BlockingIO
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Seal
import TransparencyLog

@testable import Seal

/// A ledger with a key, and a directory for the record of its sealers.
struct SealedLedger: Sendable {
    let ledger: TestLedger
    let key: SealKey
    let directory: URL

    static func with<T: Sendable>(_ body: (SealedLedger) async throws -> T) async throws -> T {
        let directory = TestServers.directory("seal")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        return try await TestLedger.with { ledger in
            let key = try SealKey(name: "test/\(ledger.name)/\(try await ledger.store.epoch().text)")
            return try await body(SealedLedger(ledger: ledger, key: key, directory: directory))
        }
    }

    var recordPath: String { directory.appending(path: "record").path }

    /// - Parameter noting: gets the positions that the sealer seals.
    func sealer(
        _ key: SealKey? = nil, interval: Duration = .zero, window: Int = 65_536, leaseTimes: LeaseTimes = .standard,
        noting: SealedPositions? = nil
    ) -> Sealer {
        Sealer(
            key: key ?? self.key, record: SealerRecord(path: recordPath), url: ledger.url, ledger: ledger.name,
            interval: interval, window: window, leaseTimes: leaseTimes,
            logger: Logger(label: "test") { _ in noting ?? SealedPositions() })
    }

    func state() async throws -> SealState {
        try await ledger.store.pool.withConnection { try await SealState.load(on: $0) }
    }

    /// Waits until the events up to `position` are sealed.
    func waitUntilSealed(_ position: Position) async throws {
        _ = try await eventually("\(position) events are sealed") { try await state().size >= position ? true : nil }
    }

    /// Appends events of several jobs: of all types, with and without metadata and times, and with
    /// unusual texts. Each job has ten events.
    @discardableResult
    func fill(_ count: Int, from first: Int = 0) async throws -> Position {
        var requests: [AppendRequest] = []
        var events: [String: [NewEvent]] = [:]
        var order: [String] = []
        for number in first..<first + count {
            // Every job is queued, makes progress and ends.
            let (job, step) = ("job \(number / 10) ä\u{1F680}", number % 10)
            let metadata = number % 3 == 0 ? #"{"actor":"ada","n":\#(number)}"# : "{}"
            let moment = number % 4 == 0 ? Timestamp(microseconds: Int64(number) * 1_000_001 - 5_000_000) : nil
            let event =
                switch step {
                case 0:
                    NewEvent(
                        type: "queued", data: #"{"name":"test","total":\#(number % 7 == 0 ? 0 : 50)}"#,
                        metadata: metadata,
                        occurredAt: moment)
                case 8:
                    NewEvent(
                        type: "truncated", data: #"{"reason":"é","limit":1}"#, metadata: metadata, occurredAt: moment)
                case 9:
                    NewEvent(
                        type: number % 20 == 9 ? "failed" : "finished", data: #"{"error":"none",  "results":{}}"#,
                        metadata: metadata)
                default:
                    NewEvent(
                        type: "progress",
                        data: #"{"completed":\#(step), "message":"\#(String(repeating: "x", count: number % 300))"}"#,
                        metadata: metadata, occurredAt: moment)
                }
            if events[job] == nil { order.append(job) }
            events[job, default: []].append(event)
        }
        for job in order { requests.append(AppendRequest(job: job, events: events[job]!)) }
        for answer in try await ledger.store.append(requests) { _ = try answer.get() }
        return try await ledger.store.head()
    }

    private func triggers(_ action: String) -> String {
        ["events", "seal_tiles", "seal_checkpoints"].map { "ALTER TABLE \($0) \(action) TRIGGER ALL" }
            .joined(separator: "; ")
    }

    /// The leaves of all events, made from values that are read column by column.
    func leaves() async throws -> [EventLeaf] {
        try await ledger.store.pool.withConnection { connection in
            try await connection.query(
                """
                SELECT event_id, category, stream_id, version, type, data::text, metadata::text, occurred_at,
                       recorded_at, total, completed
                  FROM events ORDER BY position
                """
            ).map { row in
                func hash(_ column: Int) throws -> MerkleHash {
                    .plain(Array(try row.decode(column, as: String.self).utf8)[...])
                }
                return EventLeaf(
                    id: try row.decode(0), category: try row.decode(1), stream: try row.decode(2),
                    version: try row.decode(3),
                    type: try row.decode(4), dataHash: try hash(5), metadataHash: try hash(6),
                    occurredAt: try row.decode(7, as: PostgresTimestamp?.self).map(Timestamp.init),
                    recordedAt: Timestamp(try row.decode(8, as: PostgresTimestamp.self)), total: try row.decode(9),
                    completed: try row.decode(10))
            }
        }
    }

    /// Runs a script with the triggers off, which only a superuser can do.
    func tamper(_ script: String) async throws {
        let connection = try await ledger.connect(as: "tamperer")
        try await connection.execute(
            script: """
                BEGIN;
                \(triggers("DISABLE"));
                \(script);
                \(triggers("ENABLE"));
                COMMIT
                """)
        await connection.close()
    }

    func checkpoints() async throws -> [SignedCheckpoint] {
        try await ledger.store.pool.withConnection { connection in
            try await connection.query("SELECT note FROM seal_checkpoints ORDER BY size, sealed_at").map { row in
                try SignedCheckpoint(try row.decode(0, as: String.self))
            }
        }
    }
}

/// Notes the positions that a sealer reports to its log, in the order in which it seals them.
struct SealedPositions: LogHandler {
    private let noted = Locked<[String]>([])
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.debug

    var positions: [Position] { noted.withLock { $0 }.compactMap { Position($0) } }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        guard event.message == "sealed", let position = event.metadata?["position"] else { return }
        noted.withLock { $0.append("\(position)") }
    }
}

/// The roots of the trees over the first leaves, by their size.
func roots(_ leaves: [EventLeaf]) -> [MerkleHash] {
    var edge = CompactRange()
    return [edge.root]
        + leaves.map { leaf in
            edge.append(leaf.hash)
            return edge.root
        }
}

extension SealVerification.Finding {
    /// The kind and the positions.
    var brief: String {
        "\(kind) \(positions.lowerBound)" + (positions.count == 1 ? "" : "-\(positions.upperBound)")
    }
}

extension SealedLedger {
    func verify(
        key: VerifierKey?, against: [SignedCheckpoint] = [], from: Position = 1, to: Position = .max
    ) async throws -> SealVerification.Answer {
        try await SealVerification(ledger.store, key: key, against: against).run(from: from, to: to)
    }

    func verify(against: [SignedCheckpoint] = [], from: Position = 1, to: Position = .max) async throws
        -> SealVerification.Answer
    {
        try await verify(key: key.verifier, against: against, from: from, to: to)
    }

    /// Appends `count` events: one job after the other, each with `job` events.
    func fillJobs(_ count: Int, job: Int = 10, from origin: Int = 0) async throws {
        let end = origin + count
        for start in stride(from: origin, to: end, by: 10_000) {
            var requests: [AppendRequest] = []
            for first in stride(from: start, to: min(end, start + 10_000), by: job) {
                let events = (0..<min(job, end - first)).map { step in
                    let metadata = step % 3 == 0 ? #"{"actor":"ada"}"# : "{}"
                    return switch step {
                    case 0: NewEvent(type: "queued", data: #"{"name":"test","total":50000}"#, metadata: metadata)
                    case job - 1: NewEvent(type: "finished", data: "{}", metadata: metadata)
                    default: NewEvent(type: "progress", data: #"{"completed":\#(step)}"#, metadata: metadata)
                    }
                }
                requests.append(AppendRequest(job: "job-\(first)", events: events))
            }
            for answer in try await ledger.store.append(requests) { _ = try answer.get() }
        }
    }

    /// Removes the checks of job types and of times. The keys stay: a forger keeps to them as well.
    func dropConstraints() async throws {
        try await tamper(
            """
            ALTER TABLE events DROP CONSTRAINT events_job_type;
            ALTER DOMAIN event_time DROP CONSTRAINT event_time_in_years
            """)
    }

    /// Restores the events from the table `untouched`.
    func restoreEvents() async throws {
        try await tamper("TRUNCATE events; INSERT INTO events SELECT * FROM untouched")
    }
}
