import LedgerCore
import Postgres

/// Baselines that several rows use.
extension BenchLedger {
    /// libpq alone reads the whole log, all columns, without decoding values.
    func readingTheLog() async throws -> Contest.Work {
        let (bare, head) = (try await self.bare(), try await self.head())
        return {
            try await Rate.of(Int(head)) {
                let count = try await bare.read(from: 1, to: head)
                guard count == head else { throw BenchFailure("read \(count) of \(head) events") }
            }
        }
    }

    /// Raw COPY of the events of `log`, 1,000 rows per transaction, into an empty table without
    /// checks.
    func copying(_ log: MixedLog) -> Contest.Work {
        {
            try await admin.execute(script: "DROP TABLE IF EXISTS copied")
            try await makeBareTable("copied")
            let bare = try await self.bare()
            return try await Rate.of(log.events) {
                try await bare.copy("COPY copied (\(BenchEvent.copyColumns)) FROM STDIN", log.chunk)
            }
        }
    }
}
