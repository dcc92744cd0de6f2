import EventStore
package import LedgerCore
import Postgres

/// One thing that was done.
package struct TrailEntry: Sendable, Equatable {
    package var position: Position
    package var eventID: EventID
    package var actor: ExactText?
    package var job: JobID
    package var version: Int32
    package var type: EventType
    package var recordedAt: Timestamp
    package var occurredAt: Timestamp?
    package var correlationID: ExactText?
    package var causationID: ExactText?
    package var source: String?
    /// A job's name, a message, a reason or an error: what the type does not say.
    package var detail: String?

    /// - Parameter row: the columns of ``TrailQuery``, in their order.
    init(_ row: PostgresRow) throws {
        position = try row.decode(0)
        eventID = try row.decode(1)
        actor = try row.decode(2)
        job = try row.decode(3)
        version = try row.decode(4)
        type = try EventType(try row.decode(5, as: String.self), at: position)
        recordedAt = Timestamp(try row.decode(6, as: PostgresTimestamp.self))
        occurredAt = try row.decode(7, as: PostgresTimestamp?.self).map(Timestamp.init)
        correlationID = try row.decode(8)
        causationID = try row.decode(9)
        source = try row.decode(10)
        detail = try row.decode(11)
    }

    /// About how many bytes it takes.
    var textBytes: Int {
        200
            + [actor?.text, job.text, correlationID?.text, causationID?.text, source, detail].reduce(0) {
                $0 + ($1?.utf8.count ?? 0)
            }
    }

    /// When it happened: by the caller's clock where it was given, otherwise by the ledger's.
    package var happenedAt: Timestamp { occurredAt ?? recordedAt }
}
