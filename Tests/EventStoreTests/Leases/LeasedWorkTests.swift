import EventStore
import LedgerTesting
import Logging
import Postgres
import Testing

/// Work that any number of processes can do, and that one does at a time.
@Suite(.timeLimit(.minutes(10))) struct LeasedWorkTests {
    /// Who is at work.
    private actor Shift {
        private(set) var working: Set<String> = []
        /// The most that worked at once.
        private(set) var most = 0
        /// Whether the first that worked began after the lease of a killed holder had run out.
        private(set) var hasWaited: Bool?

        func begin(_ worker: String, hasWaited: Bool) {
            working.insert(worker)
            most = max(most, working.count)
            self.hasWaited = self.hasWaited ?? hasWaited
        }

        func end(_ worker: String) { working.remove(worker) }
    }

    /// Works as a relay does, until the task is cancelled: it renews the lease, and stops when it
    /// is lost.
    /// - Parameter expiry: when the lease of a killed holder runs out.
    private static func work(
        as worker: String, in shift: Shift, after expiry: String = "-infinity", of ledger: TestLedger
    ) async {
        let lease = Lease("relay", holder: worker, times: .kept)
        let configuration = EventStore.configuration(url: ledger.url, ledger: ledger.name)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        await LeasedWork(lease, on: configuration, logger: logger).run { connection, _ in
            let hasWaited: Bool = try await connection.query(
                "SELECT clock_timestamp() > $1::text::timestamptz", expiry
            ).only().decode(0)
            await shift.begin(worker, hasWaited: hasWaited)
            do {
                while try await lease.take(on: connection) { try await Task.sleep(for: lease.times.retry) }
            } catch {
                await shift.end(worker)
                throw error
            }
            await shift.end(worker)
        }
    }

    /// When the one at work stops, one of the others takes over at once.
    @Test func oneOfSeveralWorks() async throws {
        try await TestLedger.with { ledger async throws in
            let shift = Shift()
            var running: [String: Task<Void, Never>] = [:]
            for worker in ["first", "second", "third"] {
                running[worker] = Task { await Self.work(as: worker, in: shift, of: ledger) }
            }
            for change in 1...3 {
                let worker: String = try await eventually("one of them works") { await shift.working.first }
                #expect(
                    try await ledger.holding(of: "relay") == LeaseHolding(holder: worker, fence: Int64(change)))
                let task = try #require(running[worker])
                task.cancel()
                await task.value
            }
            #expect(await shift.most == 1)
        }
    }

    /// A killed holder releases nothing. Another works when the lease has run out, and not before.
    @Test func replacesAKilledHolder() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            #expect(try await Lease("relay", holder: "killed", times: .brief).take(on: connection))
            let expiry: String = try await connection.query("SELECT expires_at::text FROM leases").only().decode(0)
            await connection.close()
            let shift = Shift()
            let running = ["first", "second"].map { worker in
                Task { await Self.work(as: worker, in: shift, after: expiry, of: ledger) }
            }
            let worker: String = try await eventually("one of them works") { await shift.working.first }
            #expect(await shift.hasWaited == true)
            #expect(try await ledger.holding(of: "relay") == LeaseHolding(holder: worker, fence: 2))
            for task in running { task.cancel() }
            for task in running { await task.value }
            #expect(await shift.most == 1)
        }
    }
}
