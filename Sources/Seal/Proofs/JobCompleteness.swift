package import EventStore
package import LedgerCore
import Postgres
package import TransparencyLog

/// Shows that a job's events, and no others, are the job's: that the tables are what was sealed,
/// all of them, and which of them name the job.
///
/// An index may be wrong, or made wrong: the job is looked for in every event.
package struct JobCompleteness: Sendable {
    package struct Answer: Sendable, Equatable {
        /// The events up to here were compared with the seal.
        package var sealed: Position
        /// How many of them are the job's.
        package var events: Int
        /// Whether the last of them ends it.
        package var isWhole: Bool
    }

    /// What was found where the events should be the job's.
    package struct NotComplete: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    private let store: EventStore
    private let key: VerifierKey?

    /// - Parameter key: who must have signed; `nil` takes the ledger's word for it.
    package init(_ store: EventStore, key: VerifierKey?) {
        self.store = store
        self.key = key
    }

    /// - Throws: ``NotComplete`` where anything was touched, or the versions do not count from 1.
    package func check(_ job: JobID) async throws -> Answer {
        let verified = try await SealVerification(store, key: key).run()
        guard verified.isClean, verified.position > 0 else {
            throw NotComplete(
                description: verified.position == 0
                    ? "nothing is sealed: nothing can be shown"
                    : "the log is not what was sealed (\(verified.findings.first?.message ?? "")); jobledger audit verify names every event"
            )
        }
        let events = try await events(of: job, upTo: verified.position)
        for (version, event) in zip(Int32(1)..., events) where event.version != version {
            throw NotComplete(
                description:
                    "position \(event.position) has version \(event.version) of the job, where version \(version) should be"
            )
        }
        let isWhole = events.last.flatMap { EventType(rawValue: $0.type)?.isEnd } ?? false
        return Answer(sealed: verified.position, events: events.count, isWhole: isWhole)
    }

    private func events(
        of job: JobID, upTo position: Position
    ) async throws -> [(position: Position, version: Int32, type: String)] {
        try await store.pool.withConnection { connection in
            try await connection.transaction(.repeatableRead, readOnly: true) { connection in
                // Every row of the table, whatever its indexes say.
                try await connection.execute(
                    script:
                        "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off"
                )
                return try await connection.query(
                    "SELECT position, version, type FROM events WHERE category = 'job' AND stream_id = $1 AND position <= $2 ORDER BY position",
                    job, position
                ).map { (try $0.decode(0), try $0.decode(1), try $0.decode(2)) }
            }
        }
    }
}
