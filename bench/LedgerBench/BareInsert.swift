import Postgres

/// What Postgres alone takes to insert the rows of a read model into a table with the same indexes: whoever folds events into it, in one
/// session and row by row, cannot be faster.
enum BareInsert {
    static func work(_ table: String) -> String {
        "… bare INSERT of the rows of \(table), in one transaction, with the same indexes: the limit"
    }

    /// - Parameter events: how many the rows came of, for the rate is of events.
    static func candidate(_ table: String, of events: Int, _ ledger: BenchLedger) -> Contest.Candidate {
        .init(work: work(table), note: "reads no event and parses no JSON") { try await rate(table, of: events, ledger) }
    }

    /// The read model must be full.
    static func rate(_ table: String, of events: Int, _ ledger: BenchLedger) async throws -> Rate {
        try await ledger.admin.execute(
            script: "DROP TABLE IF EXISTS bare; CREATE TABLE bare (LIKE \(table) INCLUDING INDEXES INCLUDING CONSTRAINTS)")
        try await ledger.settle()
        return try await Rate.of(events) {
            try await ledger.admin.execute(
                script: "BEGIN; SET LOCAL synchronous_commit = off; INSERT INTO bare SELECT * FROM \(table); COMMIT")
        }
    }
}
