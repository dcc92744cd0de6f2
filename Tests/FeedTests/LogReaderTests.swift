import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

@testable import Feed

@Suite struct LogReaderTests {
    private static func reader(_ ledger: TestLedger, limit: Int) async throws -> LogReader {
        let connection = try await ledger.connect(as: "reader")
        let code = try await MessageCode.load(of: ledger.name, on: connection)
        return LogReader(connection, of: ledger.name, demanding: .local, code: code, after: 0, limit: limit)
    }

    /// A batch is bounded by bytes if the data is large, and by the window if it is small.
    @Test func batchesAreBounded() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let requests = (1...120).map { count in
                let size = count % 3 == 0 ? 100_000 : 60_000
                let data = #"{"completed":\#(count),"message":"\#(String(repeating: "x", count: size))"}"#
                return AppendRequest(job: "a", events: [NewEvent(type: "progress", data: data)])
            }
            _ = try await ledger.store.append(requests)
            for count in 121...200 { try await ledger.progress("a", count) }
            for limit in [30, 1_000] {
                let reader = try await Self.reader(ledger, limit: limit)
                var last: Position = 0
                var (published, batches) = (0, 0)
                while last < 201 {
                    let batch = try await reader.next()
                    #expect(!batch.isEmpty && batch.upTo > last)
                    #expect(batch.commands.size < 2 * (512 << 10) && batch.upTo - last <= limit)
                    // The head's beat follows the events.
                    published += batch.commands.count - 1
                    #expect(Int(batch.upTo) == published)
                    last = batch.upTo
                    batches += 1
                }
                #expect(last == 201 && batches >= 201 / limit && batches >= 80 * 60_000 / (800 << 10))
                let sign = try await reader.next()
                #expect(sign.isEmpty && sign.upTo == 201 && sign.commands.count == 1)
            }
        }
    }
}
