package import LedgerCore
package import Postgres

/// The events in a chunk of an ``EventWindow``, one after the other. It makes no strings, for
/// readers that pass the events on.
package struct EncodedEvents {
    private var rows: PostgresBinaryRows

    package init(_ chunk: [UInt8]) throws(PostgresError) { rows = try PostgresBinaryRows(chunk) }

    package mutating func next() throws(PostgresError) -> EncodedEvent? {
        guard try rows.next(columns: 11) else { return nil }
        return try EncodedEvent(&rows)
    }
}

/// An event in a chunk of bytes. Numbers and times are decoded; a text is the range of its bytes in
/// the chunk.
package struct EncodedEvent: Sendable {
    package var position: Position
    package var id: EventID
    package var category: Category
    /// The id of the stream: of the job, if the category is that of jobs.
    package var job: Range<Int>
    package var version: Int32
    package var type: EventType
    /// `nil` where large data were left out.
    package var data: Range<Int>?
    package var metadata: Range<Int>
    package var occurredAt: Timestamp?
    package var recordedAt: Timestamp
    package var total: Int32

    fileprivate init(_ row: inout PostgresBinaryRows) throws(PostgresError) {
        func text(_ range: Range<Int>?) throws(PostgresError) -> Range<Int> {
            guard let range else { throw .unexpected("an event without a name or metadata") }
            return range
        }
        // Read in the order of the columns.
        position = try row.column()
        id = try row.column()
        category = try Category(try row.column(as: String.self), at: position)
        job = try text(row.column())
        version = try row.column()
        type = try EventType(try row.column(as: String.self), at: position)
        data = try row.column()
        metadata = try text(row.column())
        occurredAt = (try row.column() as PostgresTimestamp?).map(Timestamp.init)
        recordedAt = Timestamp(try row.column() as PostgresTimestamp)
        total = try row.column()
    }
}

extension RecordedEvent {
    init(_ event: EncodedEvent, in chunk: [UInt8]) {
        // The server's texts are UTF-8, because the connection requires that encoding.
        func text(_ range: Range<Int>) -> String { String(decoding: chunk[range], as: UTF8.self) }
        self.init(
            position: event.position, id: event.id, category: event.category, job: JobID(text(event.job)),
            version: event.version, type: event.type,
            data: event.data.map(text), metadata: text(event.metadata), occurredAt: event.occurredAt,
            recordedAt: event.recordedAt,
            total: event.total)
    }
}
