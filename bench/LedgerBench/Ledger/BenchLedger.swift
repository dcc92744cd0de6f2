import EventStore
import LedgerCore
import Postgres

/// A ledger that is filled, measured and dropped.
struct BenchLedger: Sendable {
    let name: LedgerName
    let url: String
    /// For preparations and queries that are not timed.
    let admin: PostgresConnection

    static func make(_ name: String, bench: Bench) async throws -> BenchLedger {
        guard let ledger = LedgerName(name) else { throw BenchFailure("\(name) is not a name for a ledger") }
        let url = bench.databaseURL
        _ = try await Migrator(url: url, ledger: ledger, files: try MigrationFile.embedded()).up()
        let admin = try await PostgresConnection.connect(
            EventStore.configuration(url: url, ledger: ledger, applicationName: "jobledger bench"),
            timeout: .seconds(10))
        let made = BenchLedger(name: ledger, url: url, admin: admin)
        try await made.settle()
        return made
    }

    func drop() async throws {
        if await !admin.isUsable() { return }
        try await admin.execute(script: "DROP SCHEMA \"\(name.text)\" CASCADE")
        await admin.close()
    }

    /// Writes dirty pages to disk, so that the next round does not pay for this one.
    func settle() async throws { try await admin.execute(script: "CHECKPOINT") }

    func store(connections: Int = 8) -> EventStore {
        EventStore(url: url, ledger: name, connections: connections, applicationName: "jobledger bench")
    }

    func bare() async throws -> BareConnection { try await BareConnection(url, schema: name.text) }

    func head() async throws -> Position { try await admin.headOfLog() }

    /// Appends the first event of each job, without a total, so that progress has no bound.
    func queue(_ jobs: [JobID]) async throws {
        let store = store(connections: 1)
        let answers = try await store.append(
            jobs.map { AppendRequest(job: $0, events: [NewEvent(type: "queued", data: #"{"name": "bench"}"#)]) })
        await store.close()
        for answer in answers { _ = try answer.get() }
    }

    enum Indexes { case same, primaryKey, none }

    /// Creates a table with the log's columns, and without its triggers and checks, for raw COPY
    /// and plain INSERT.
    func makeBareTable(_ table: String, indexes: Indexes = .same) async throws {
        try await admin.execute(
            script: """
                CREATE TABLE \(table) (LIKE events INCLUDING DEFAULTS\(indexes == .same ? " INCLUDING INDEXES" : ""));
                ALTER TABLE \(table) ALTER position TYPE bigint, ALTER stream_id TYPE text COLLATE "C",
                    ALTER version TYPE integer,
                  ALTER type TYPE text COLLATE "C", ALTER total TYPE integer, ALTER completed TYPE integer;
                \(indexes == .primaryKey ? "ALTER TABLE \(table) ADD PRIMARY KEY (position);" : "")
                """)
    }
}

struct BenchFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
