package import Logging
package import Postgres

extension Lease {
    /// Runs work that may take longer than the lease lasts, and renews the lease meanwhile.
    ///
    /// The work's connection is busy, so renewals use another one, which is opened only if the work
    /// takes long. If a renewal fails, the work continues: the lease only avoids duplicate work,
    /// and the compare-and-swap at the end of the work makes duplicate work harmless.
    /// - Parameter connection: the connection of the work. Renewals open another to the same
    ///   server.
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
        while (try? await Task.sleep(for: times.renewal / 2)) != nil {
            do {
                let renewing: PostgresConnection
                if let own, await own.isUsable() {
                    renewing = own
                } else {
                    await own?.close()
                    renewing = try await connection.another(timeout: times.duration)
                    own = renewing
                }
                if try await !take(on: renewing) {
                    logger.warning(
                        "the lease was lost to another process; the work continues", metadata: ["lease": "\(name)"])
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
