import EventStore
import LedgerCore
import Postgres

/// Where the log ends, which jobs have ended, and whether there is what is asked for: what has to
/// be known before a stream begins.
struct JobEnds: Sendable {
    let head: Position
    let epoch: EventID
    /// The last position that the client's history shares with the log, at most its own.
    let shared: Position
    /// The requested jobs that have ended, with the position of their last event.
    let ends: [JobID: Position]

    /// A place that a client gave, which without an epoch is of the present history.
    func place(_ given: Place) -> Place { Place(given.position, epoch: given.epoch ?? EpochDigits(epoch)) }

    private static let endsStatement = """
        SELECT job.id, event.position
          FROM unnest($1) AS job (id)
          JOIN LATERAL (
            SELECT position, type FROM events WHERE category = 'job' AND stream_id = job.id
             ORDER BY version DESC LIMIT 1
          ) AS event ON event.type = ANY ($2)
        """

    /// - Parameters:
    ///   - place: where the client stands.
    ///   - category: which the client has named, if any, and `types` of it.
    /// - Throws: `UnknownKind` for a category, or a type of it, that the ledger does not have.
    static func load(
        _ jobs: Set<JobID>, of category: Category? = nil, types: Set<EventType>? = nil, after place: Place,
        in store: EventStore
    ) async throws -> JobEnds {
        var statements = [
            PostgresStatement(LogHead.sql),
            place.sharedPosition,
            PostgresStatement(endsStatement, [Array(jobs), EventType.jobTypes.filter(\.isEnd).map(\.rawValue)]),
        ]
        if let question = UnknownKind.question(category, types) { statements.append(question) }
        let answers = try await store.pool.withConnection { [statements] in try await $0.pipeline(statements) }
        var ends: [JobID: Position] = [:]
        for row in try answers[2].get() { ends[try row.decode(0)] = try row.decode(1) as Position }
        let log = try LogHead(try answers[0].get())
        let shared: Position = try answers[1].get().only().decode(0)
        // Last, because behind a failed statement its answer says nothing.
        if answers.count > 3 { try UnknownKind.check(try answers[3].get()) }
        return JobEnds(head: log.position, epoch: log.epoch, shared: shared, ends: ends)
    }
}
