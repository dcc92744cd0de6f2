import Postgres

/// The limits of a fold in one session, row by row: how fast Postgres alone inserts the rows of a
/// read model into a table with the same indexes, and how fast it parses the events that they come
/// from.
enum FoldLimits {
    static func inserting(_ table: String) -> String {
        "… bare INSERT of the rows of \(table), in one transaction, with the same indexes: a limit"
    }
    static func parsing(_ table: String) -> String {
        "… parsing the data and metadata of the events of \(table), and nothing else: a limit"
    }
    static func works(_ table: String) -> [String] { [inserting(table), parsing(table)] }

    /// - Parameter events: how many events the rows come from, because the rate is in events.
    static func candidates(_ table: String, of events: Int, _ ledger: BenchLedger) -> [Contest.Candidate] {
        [
            .init(work: inserting(table), note: "reads no event and parses no JSON") {
                try await insertRate(table, of: events, ledger)
            },
            .init(work: parsing(table), note: "writes nothing") { try await parseRate(table, of: events, ledger) },
        ]
    }

    /// The read model must be full.
    static func insertRate(_ table: String, of events: Int, _ ledger: BenchLedger) async throws -> Rate {
        try await ledger.admin.execute(
            script:
                "DROP TABLE IF EXISTS bare; CREATE TABLE bare (LIKE \(table) INCLUDING INDEXES INCLUDING CONSTRAINTS)")
        try await ledger.settle()
        return try await Rate.of(events) {
            try await ledger.admin.execute(
                script: "BEGIN; SET LOCAL synchronous_commit = off; INSERT INTO bare SELECT * FROM \(table); COMMIT")
        }
    }

    /// Parses the columns that the projection parses, if there are any, in one process, as a writer
    /// does.
    static func parseRate(_ table: String, of events: Int, _ ledger: BenchLedger) async throws -> Rate {
        let parsed =
            table == "batch_job_runs"
            ? "count(data::jsonb) FILTER (WHERE type IN ('progress', 'finished'))"
            : "count(data ->> 'message'), count(metadata::jsonb) FILTER (WHERE length(metadata::text) > 2)"
        return try await Rate.of(events) {
            try await ledger.admin.execute(
                script: "BEGIN; SET LOCAL max_parallel_workers_per_gather = 0; SELECT \(parsed) FROM events; COMMIT")
        }
    }
}
