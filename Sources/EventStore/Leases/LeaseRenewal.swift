package import Logging
package import Postgres

extension Lease {
    /// Does work that may take longer than the lease lasts, and renews the lease meanwhile.
    ///
    /// Renewals have a connection of their own, for the work's is busy; it is made only for work
    /// that takes long. Where a renewal fails the work goes on: a lease keeps two from doing the
    /// same, and what makes double work harmless is the compare-and-swap that the work ends with.
    /// - Parameter connection: the work's; the renewals' is another to the same server.
    package func renewed<T>(
        beside connection: PostgresConnection, logger: Logger, during work: () async throws -> T
    ) async throws -> T {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await renew(beside: connection, logger) }
            defer { group.cancelAll() }
            return try await work()
        }
    }

    /// Renews the lease until the task is cancelled.
    private func renew(beside connection: PostgresConnection, _ logger: Logger) async {
        var own: PostgresConnection?
        while (try? await Task.sleep(for: Self.renewal / 2)) != nil {
            do {
                let renewing: PostgresConnection
                if let own, await own.isUsable() {
                    renewing = own
                } else {
                    await own?.close()
                    renewing = try await connection.another(timeout: Self.duration)
                    own = renewing
                }
                if try await !take(on: renewing) {
                    logger.warning(
                        "the lease was lost to another while the work goes on", metadata: ["lease": "\(name)"])
                }
            } catch  where !Task.isCancelled {
                logger.warning(
                    "the lease could not be renewed; trying again", metadata: ["lease": "\(name)", "error": "\(error)"])
            } catch {
                break
            }
        }
        await own?.close()
    }
}
