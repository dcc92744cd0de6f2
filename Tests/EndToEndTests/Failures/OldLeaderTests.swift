import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

extension EndToEnd {
    /// An old leader that still accepts everything, while the address leads to the new one.
    @Suite("an old leader", .timeLimit(.minutes(10))) struct OldLeaderTests {
        private static func queued(_ numbers: ClosedRange<Int>) -> Data {
            Data(numbers.map { #"{"job":"\#($0)","type":"queued","data":{"name":"x"}}"# + "\n" }.joined().utf8)
        }

        /// A pipe that never blocks its writer, because it has room for all that is written.
        private static func pipe() throws -> (path: String, end: FileHandle) {
            let path = try makeDirectory("pipe").appending(path: "events").path
            #expect(mkfifo(path, 0o600) == 0)
            // With both ends in one hand, nobody waits for the other to open.
            let descriptor = open(path, O_RDWR | O_CLOEXEC)
            #expect(descriptor >= 0)
            let setPipeSize: Int32 = 1031
            #expect(fcntl(descriptor, setPipeSize, 1 << 20) >= 1 << 20)
            return (path, FileHandle(fileDescriptor: descriptor, closeOnDealloc: true))
        }

        private static func head(_ url: String, _ ledger: TestLedger) async throws -> Position {
            let store = EventStore(url: url, ledger: ledger.name)
            let head = try await store.head()
            await store.close()
            return head
        }

        @Test("gets no more of the lines that append --file reads") func appendFile() async throws {
            try await ReplicatedLedger.with { replicated in
                // The cluster is asynchronous: otherwise the old leader could commit nothing.
                try await replicated.waitForStandbys("")
                let (ledger, new) = (replicated.ledger, replicated.standby.url)
                let proxy = try CuttingProxy(before: ledger.url)
                let user = UserLedger(
                    ledger: ledger,
                    environment: [
                        "DATABASE_URL": proxy.address(insteadOf: ledger.url), "JOBLEDGER_SCHEMA": ledger.name.text,
                    ])
                let (path, lines) = try Self.pipe()
                try lines.write(contentsOf: Self.queued(1...2000))
                try await user.running("append", "--file", path, "--json") { program in
                    // Then it waits for more lines. Nothing is lost in this failover.
                    try await until("the standby has what was sent") {
                        (try? await Self.head(new, ledger)) == 2000
                    }
                    let admin = try await PostgresConnection.connect(
                        PostgresConfiguration(url: new), timeout: .seconds(60))
                    func sessions() async throws -> Int64 {
                        try await admin.query(
                            "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
                        ).only().decode(0)
                    }
                    try await admin.query("SELECT pg_promote(true, 60)")
                    let before = try await sessions()
                    proxy.lead(to: new)
                    // Some may be counted late: those of this test.
                    try await until("the program has met the new leader") { try await sessions() >= before + 5 }
                    try lines.write(contentsOf: Self.queued(2001...3000))
                    try lines.close()
                    let outcome = try await program.end()
                    #expect(outcome.code == 0 && (try? outcome.json())?["appended"] == 3000, "\(outcome)")
                    #expect(try await Self.head(ledger.url, ledger) == 2000)
                    #expect(try await Self.head(new, ledger) == 3000)
                    await admin.close()
                }
                proxy.stop()
            }
        }
    }
}
