package import LedgerCore
import Postgres

/// Who has a value that must be unique.
package struct ClaimHolder: Sendable, Equatable {
    /// The member of the data.
    package let key: String
    /// The stream, of the category of the event that was refused.
    package let stream: JobID
}

extension EventStore {
    /// Who holds now what events would claim that were refused as not unique. A refusal does not
    /// say it, because who may append need not be allowed to read. This needs a reader's rights.
    /// - Returns: the holder for each request by its index, where there is one: meanwhile it may
    ///   have given the value up.
    package func holders(against requests: [AppendRequest]) async throws -> [Int: ClaimHolder] {
        let events = requests.enumerated().flatMap { index, request in
            request.events.map { (index: Int64(index), request: request, event: $0) }
        }
        let statement = PostgresStatement(
            """
            SELECT DISTINCT ON (e.request) e.request, h.key, h.stream_id
              FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
                     WITH ORDINALITY AS e (request, category, stream, type, data, place),
                   LATERAL other_holder(e.category, e.stream, e.type, e.data::json) AS h
             ORDER BY e.request, e.place
            """,
            [
                events.map(\.index), events.map(\.request.category.text), events.map(\.request.job),
                events.map(\.event.type), events.map(\.event.data),
            ])
        var holders: [Int: ClaimHolder] = [:]
        for row in try await pool.withConnection({ try await $0.query(statement) }) {
            holders[Int(try row.decode(0, as: Int64.self))] = ClaimHolder(
                key: try row.decode(1), stream: try row.decode(2))
        }
        return holders
    }
}
