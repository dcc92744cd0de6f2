import BlockingIO
import Postgres

/// Repeats a question to Postgres until it succeeds or fails with an error that retrying cannot
/// fix. If the task is cancelled, it throws `CancellationError`, as Swift's own functions do.
package func retryingPostgres<Answer: Sendable>(
    isolation actor: isolated (any Actor)? = #isolation, _ question: @Sendable () async throws -> Answer
) async throws -> Answer {
    var backoff = Backoff()
    while true {
        do {
            return try await question()
        } catch let error as PostgresError where error.isRetriable {
            try await backoff.pause()
        } catch let error as PostgresError where error.kind == .cancelled {
            throw CancellationError()
        }
    }
}
