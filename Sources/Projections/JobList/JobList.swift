package import EventStore
package import LedgerCore
import Postgres

/// Lists jobs, now and as they were at any moment, from the read models `job_list` and
/// `job_counts`.
///
/// Each answer is of one snapshot. A moment that the read model has not reached yet is answered
/// with the position that it has reached.
package struct JobList: Sendable {
    package static let projection = "job_list"
    package static let countsProjection = "job_counts"

    private let store: EventStore

    package init(_ store: EventStore) { self.store = store }

    /// The read model has not been made yet.
    package struct NotProjected: Error, Sendable, CustomStringConvertible {
        package let projection: String
        package var description: String {
            "the read model \(projection) is not there yet: jobledger project makes it, and `jobledger up` runs that"
        }
    }

    /// There is no job ``JobListQuery/after`` at the moment of the list.
    package struct UnknownJob: Error, Sendable, CustomStringConvertible {
        package let job: JobID
        package var description: String { "\"after\" must be the id of the last job of the page before" }
    }

    /// - Parameter mostBytes: about how many bytes of JSON the page may have. It ends with the row
    ///   that exceeds them.
    /// - Throws: ``NotProjected``, ``UnknownJob``
    package func page(_ query: JobListQuery, mostBytes: Int = .max) async throws -> JobListPage {
        try await reading(Self.projection, at: query.moment) { connection, moment in
            var page = JobListPage(position: moment.position)
            var bytes = 0
            for part in try await parts(of: query, at: moment, on: connection) where !page.hasMore {
                var part = part
                // One row more than the page has tells whether more follow.
                part.limit = query.limit + 1 - page.rows.count
                for try await row in connection.stream(part.statement) {
                    // The server sends the remaining rows anyway.
                    guard !page.hasMore else { continue }
                    guard page.rows.count < query.limit, bytes <= mostBytes else {
                        page.hasMore = true
                        continue
                    }
                    let row = try JobListRow(row)
                    page.rows.append(row)
                    bytes += row.json.utf8.count
                }
            }
            return page
        }
    }

    /// - Parameter moment: `nil` for now.
    /// - Throws: ``NotProjected``
    package func counts(at moment: LogMoment? = nil) async throws -> JobCounts {
        try await reading(Self.countsProjection, at: moment) { connection, moment in
            let row = try await connection.query(Self.lastCounts, moment.position).first
            guard let row else { return JobCounts(position: moment.position) }
            return JobCounts(
                position: moment.position, queued: try row.decode(0), running: try row.decode(1),
                finished: try row.decode(2), failed: try row.decode(3))
        }
    }

    private static let lastCounts = """
        SELECT queued, running, finished, failed FROM job_counts
         WHERE position <= $1 ORDER BY position DESC LIMIT 1
        """

    /// The parts of a list that can have rows of the page, in their order.
    private func parts(
        of query: JobListQuery, at moment: ListedMoment, on connection: PostgresConnection
    ) async throws -> [JobListPart] {
        var parts = JobListBranch.of(query, at: moment).map {
            JobListPart(query: query, moment: moment, branch: $0, skipped: 0, limit: query.limit + 1)
        }
        if let after = query.after {
            return try await Self.parts(parts, behind: after, at: moment, on: connection)
        }
        var skipped = query.skipped
        while skipped > 0, !parts.isEmpty {
            parts[0].skipped = skipped
            guard parts.count > 1 else { break }
            // All that comes before the page, or all jobs of the branch.
            let count: Int = try await connection.query(parts[0].count).only().decode(0)
            guard count < skipped else { break }
            skipped -= count
            parts.removeFirst()
        }
        return parts
    }

    /// The part with the job `after` begins behind it, and those in front are left out.
    private static func parts(
        _ parts: [JobListPart], behind after: JobID, at moment: ListedMoment, on connection: PostgresConnection
    ) async throws -> [JobListPart] {
        var rest = parts[...]
        while let part = rest.first {
            guard let row = try await connection.query(part.branch.keys(of: after, at: moment)).first else {
                throw UnknownJob(job: after)
            }
            if try row.decode(0) {
                rest[rest.startIndex].after = try row.decode(1)
                break
            }
            rest.removeFirst()
        }
        return Array(rest)
    }

    /// Runs `body` in one snapshot, with the moment as far as the read model has come.
    private func reading<Value: Sendable>(
        _ projection: String, at moment: LogMoment?,
        _ body: (PostgresConnection, ListedMoment) async throws -> Value
    ) async throws -> Value {
        var position: Position?
        if let moment { position = try await store.position(of: moment) }
        do {
            return try await store.pool.withConnection { connection in
                try await connection.transaction(.repeatableRead, readOnly: true) { connection in
                    let present: Position = try await connection.query(ProjectionPosition.sql, projection).only()
                        .decode(0)
                    let shown = min(position ?? present, present)
                    return try await body(connection, ListedMoment(position: shown, isPast: shown < present))
                }
            }
        } catch SQLState.undefinedTable {
            throw NotProjected(projection: projection)
        }
    }
}

extension JobList.UnknownJob: ExitStatusProviding { package var exitStatus: ExitStatus { .usage } }
