/// An event in the log.
package struct RecordedEvent: Sendable, Equatable {
    package var position: Position
    package var id: EventID
    package var category: Category
    /// The id of the stream: of the job, if the category is that of jobs.
    package var job: JobID
    package var version: Int32
    package var type: EventType
    /// The JSON that was sent, byte for byte; `nil` if the reader left large data out.
    package var data: String?
    package var metadata: String
    package var occurredAt: Timestamp?
    package var recordedAt: Timestamp
    /// The job's known total after this event, 0 where unknown.
    package var total: Int32

    package init(
        position: Position, id: EventID, category: Category = .job, job: JobID, version: Int32, type: EventType,
        data: String?, metadata: String = "{}",
        occurredAt: Timestamp? = nil, recordedAt: Timestamp, total: Int32 = 0
    ) {
        self.position = position
        self.id = id
        self.category = category
        self.job = job
        self.version = version
        self.type = type
        self.data = data
        self.metadata = metadata
        self.occurredAt = occurredAt
        self.recordedAt = recordedAt
        self.total = total
    }
}
