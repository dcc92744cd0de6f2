import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Seal
import TransparencyLog

@testable import Seal

/// A ledger with a key and a place for what its sealers remember.
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

    func sealer(_ key: SealKey? = nil, interval: Duration = .zero, window: Int = 65_536) -> Sealer {
        Sealer(
            key: key ?? self.key, record: SealerRecord(path: recordPath), url: ledger.url, ledger: ledger.name,
            interval: interval,
            window: window, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func state() async throws -> SealState {
        try await ledger.store.pool.withConnection { try await SealState.load(on: $0) }
    }

    /// Waits until the events up to `position` are sealed.
    func waitUntilSealed(_ position: Position) async throws {
        _ = try await eventually("\(position) events are sealed") { try await state().size >= position ? true : nil }
    }

    /// Appends events of several jobs: of all types, with and without metadata and times, with odd
    /// texts.
    @discardableResult
    func fill(_ count: Int, from first: Int = 0) async throws -> Position {
        var requests: [AppendRequest] = []
        var events: [String: [NewEvent]] = [:]
        var order: [String] = []
        for number in first..<first + count {
            // Ten events a job; every job is queued, makes progress and ends.
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

    /// The leaves of all events, made from values that were read column by column.
    func leaves() async throws -> [EventLeaf] {
        try await ledger.store.pool.withConnection { connection in
            try await connection.query(
                """
                SELECT event_id, category, stream_id, version, type, data::text, metadata::text, occurred_at, recorded_at, total, completed
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

    /// What only a superuser can do, and who does it on purpose: with the triggers off.
    func tamper(_ script: String) async throws {
        let connection = try await ledger.connect(as: "tamperer")
        try await connection.execute(
            script: """
                BEGIN;
                ALTER TABLE events DISABLE TRIGGER ALL; ALTER TABLE seal_tiles DISABLE TRIGGER ALL; ALTER TABLE seal_checkpoints DISABLE TRIGGER ALL;
                \(script);
                ALTER TABLE events ENABLE TRIGGER ALL; ALTER TABLE seal_tiles ENABLE TRIGGER ALL; ALTER TABLE seal_checkpoints ENABLE TRIGGER ALL;
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

/// The roots of the trees over the first leaves, at every size.
func roots(_ leaves: [EventLeaf]) -> [MerkleHash] {
    var edge = CompactRange()
    return [edge.root]
        + leaves.map { leaf in
            edge.append(leaf.hash)
            return edge.root
        }
}
