import EventStore
import Foundation
import LedgerCore
import Postgres

/// Prints the best runs, from an SQL query over the read model.
struct BestRuns: Sendable {
    let store: EventStore
    let job: JobID

    private static let hasReached = "SELECT FROM projections WHERE name = 'batch_job_runs' AND position >= $1"

    private static let select = """
        SELECT variables ->> 'ticker' AS ticker, variables ->> 'fast' AS fast, variables ->> 'slow' AS slow,
               (metrics ->> 'sharpe')::float8 AS sharpe, (metrics ->> 'cagr')::float8 AS cagr,
               (metrics ->> 'max_drawdown')::float8 AS drawdown, (metrics ->> 'trades')::integer AS trades
          FROM batch_job_runs
         WHERE batch_job_id = $1
         ORDER BY sharpe DESC, run_index
         LIMIT 5
        """

    func show() async throws {
        let rows = try await store.pool.withConnection { connection in
            // The read model is some milliseconds behind the log.
            let head = try await connection.headOfLog()
            let deadline = ContinuousClock.now.advanced(by: .seconds(30))
            while try await connection.query(Self.hasReached, head).isEmpty {
                guard ContinuousClock.now < deadline else { throw ProjectionBehind() }
                try await Task.sleep(for: .milliseconds(20))
            }
            return try await connection.query(Self.select, job)
        }
        write(
            "\nThe best runs by Sharpe ratio, from batch_job_runs "
                + "(picked with hindsight, without costs: no forecast):\n\n")
        write("  ticker   fast  slow  Sharpe    CAGR  max. drawdown  trades\n")
        for row in rows {
            func cell(_ column: String, _ width: Int) throws -> String {
                let text = try row.decode(column, as: String.self)
                return String(repeating: " ", count: max(0, width - text.count)) + text
            }
            let ticker = try row.decode("ticker", as: String.self)
            let line =
                "  " + ticker + String(repeating: " ", count: max(1, 8 - ticker.count)) + (try cell("fast", 5))
                + (try cell("slow", 6))
                + String(
                    format: "%8.3f %6.2f%% %13.1f%% %7d", try row.decode("sharpe", as: Double.self),
                    try row.decode("cagr", as: Double.self) * 100, try row.decode("drawdown", as: Double.self) * 100,
                    try row.decode("trades", as: Int.self))
            write(line + "\n")
        }
    }

    struct ProjectionBehind: Error, CustomStringConvertible {
        var description: String {
            "batch_job_runs is still behind the log after 30 s: does a projector run? (jobledger status)"
        }
    }
}
