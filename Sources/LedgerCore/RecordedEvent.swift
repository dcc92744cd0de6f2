/// An event in the log.
public struct RecordedEvent: Sendable, Equatable {
    public var position: Position
    public var id: EventID
    public var job: JobID
    public var version: Int32
    public var type: EventType
    /// The JSON that was sent, byte for byte; `nil` if the reader left large data out.
    public var data: String?
    public var metadata: String
    public var occurredAt: Timestamp?
    public var recordedAt: Timestamp
    /// The job's known total after this event, 0 where unknown.
    public var total: Int32

    public init(
        position: Position, id: EventID, job: JobID, version: Int32, type: EventType, data: String?,
        metadata: String = "{}",
        occurredAt: Timestamp? = nil, recordedAt: Timestamp, total: Int32 = 0
    ) {
        self.position = position
        self.id = id
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
