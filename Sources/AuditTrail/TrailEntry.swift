import EventStore
package import LedgerCore
import Postgres

/// One event, as the audit trail shows it.
package struct TrailEntry: Sendable, Equatable {
    package var position: Position
    package var eventID: EventID
    package var actor: ExactText?
    package var stream: StreamKey
    package var version: Int32
    package var type: EventType
    package var recordedAt: Timestamp
    package var occurredAt: Timestamp?
    package var correlationID: ExactText?
    package var causationID: ExactText?
    package var source: String?
    /// What the type does not say: the name of the job, a message, a reason or an error. `nil` for
    /// other categories than that of jobs.
    package var detail: String?

    /// - Parameter row: with ``TrailQuery/columns`` and ``TrailQuery/detail``, in this order.
    init(_ row: PostgresRow) throws {
        position = try row.decode(0)
        eventID = try row.decode(1)
        actor = try row.decode(2)
        stream = StreamKey(
            try Category(try row.decode(3, as: String.self), at: position), try row.decode(4, as: JobID.self))
        version = try row.decode(5)
        type = try EventType(try row.decode(6, as: String.self), at: position)
        recordedAt = Timestamp(try row.decode(7, as: PostgresTimestamp.self))
        occurredAt = try row.decode(8, as: PostgresTimestamp?.self).map(Timestamp.init)
        correlationID = try row.decode(9)
        causationID = try row.decode(10)
        source = try row.decode(11)
        detail = try row.decode(12)
    }

    /// About how many bytes the entry takes in an answer.
    var textBytes: Int {
        200
            + [actor?.text, stream.id.text, correlationID?.text, causationID?.text, source, detail].reduce(0) {
                $0 + ($1?.utf8.count ?? 0)
            }
    }

    /// When it happened: the time that the caller gave, or else the time at which the ledger
    /// recorded it.
    package var happenedAt: Timestamp { occurredAt ?? recordedAt }
}
