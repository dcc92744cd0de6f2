import BlockingIO
import LedgerCore
import Postgres

extension GroupLane {
    /// Commits group after group on its own connection, until the lane has stopped or the task is
    /// cancelled.
    func serve(_ configuration: PostgresConfiguration) async {
        var connection: PostgresConnection?
        var backoff = Backoff()
        // Requests stay in the queue until there is a connection. In the queue they can be
        // cancelled, and can time out, with nothing written.
        while await waitForWork() {
            do {
                // Before a group is taken: if it fails, nothing was written.
                let open = if let connection { connection } else { try await connect(configuration) }
                let isAlive = try await commit(takeGroup(), on: open)
                connection = isAlive ? open : nil
                backoff.reset()
            } catch {
                // Nothing in the queue was written. Some errors are permanent, such as a malformed
                // address or a wrong password.
                failExpired(error, unlessItMayPass: (error as? PostgresError)?.isRetriable ?? false)
                if await connection?.isUsable() != true { connection = nil }
                do {
                    try await backoff.pause()
                } catch {
                    // Cancelled: the lane is halted, and the loop ends by its condition.
                }
            }
        }
        await connection?.close()
    }

    /// - Returns: whether the connection can be used again.
    /// - Throws: the error that kept the group from being written. The group is back in the queue.
    private func commit(_ group: [GroupQueue.Entry], on connection: PostgresConnection) async throws -> Bool {
        var batch = AppendBatch()
        for entry in group { batch.add(entry.request) }
        guard let statement = batch.statement(versionHints) else {
            answer(group, try batch.answers(nil))
            return true
        }
        do {
            guard let rows = try await connection.queryUnlessStale(statement) else {
                putBack(group)
                return false
            }
            let answers = try await connection.confirmed(try batch.answers(rows))
            answer(group, answers)
            versionHints.note(answers, to: batch.requests)
            // The answered callers run first, so that those who return at once with another event
            // join the next group.
            await Task.yield()
        } catch let error as NotDurable {
            answer(group, error.answers, doubt: error.reason)
        } catch let error as PostgresError {
            // An answer that cannot be decoded comes after the commit.
            if error.outcomeIsUnknown || error.kind == .decoding {
                fail(group, OutcomeUnknown(reason: "\(error)"))
                return await connection.isUsable()
            } else if error.isRetriable {
                putBack(group)
                throw error
            } else if group.count > 1 {
                // One request may have caused the failure, and must not fail the others. From now
                // on each is sent alone.
                putBack(group, alone: true)
            } else {
                fail(group, error)
            }
        }
        return true
    }
}
