import BlockingIO
import Postgres

/// Asks Postgres, as often as it takes for as long as waiting may help. Cancelled, it says so as
/// everything else in Swift does.
func retryingPostgres<Answer: Sendable>(
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
