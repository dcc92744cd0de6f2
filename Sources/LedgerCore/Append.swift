/// An event to append.
public struct NewEvent: Sendable, Equatable {
    /// The name of an ``EventType`` that the category has; the ledger refuses any other.
    public var type: String
    /// A JSON object, kept byte for byte.
    public var data: String
    /// A JSON object: `actor`, `correlation_id`, `causation_id`, `traceparent`, and your own keys.
    public var metadata: String
    /// The idempotency key. Send the same one again when you retry.
    public var id: EventID
    /// When it happened by the caller's clock, if that differs from the time of recording.
    public var occurredAt: Timestamp?

    public init(
        type: String, data: String = "{}", metadata: String = "{}", id: EventID = .version7(),
        occurredAt: Timestamp? = nil
    ) {
        self.type = type
        self.data = data
        self.metadata = metadata
        self.id = id
        self.occurredAt = occurredAt
    }
}

/// Events of one job, or of a stream of another category, that are written all or none.
public struct AppendRequest: Sendable, Equatable {
    /// The kind of the stream.
    public var category: Category
    /// The id of the stream: of the job, if the category is that of jobs.
    public var job: JobID
    public var events: [NewEvent]
    /// The version that the stream must have; 0 means that it must not exist, `nil` accepts any
    /// version.
    public var expectedVersion: Int32?

    public init(
        category: Category = .job, job: JobID, events: [NewEvent], expectedVersion: Int32? = nil
    ) {
        self.category = category
        self.job = job
        self.events = events
        self.expectedVersion = expectedVersion
    }
}

/// The place of an event in the log.
public struct Appended: Sendable, Equatable {
    public var position: Position
    public var version: Int32
    public var eventID: EventID
    /// Whether it was in the log already: the request was a retry.
    public var isDuplicate: Bool
    /// The level that the event had reached when this was answered.
    public var durability: Durability

    public init(
        position: Position, version: Int32, eventID: EventID, isDuplicate: Bool, durability: Durability = .local
    ) {
        self.position = position
        self.version = version
        self.eventID = eventID
        self.isDuplicate = isDuplicate
        self.durability = durability
    }
}

/// Why nothing of a request was written. Sending the same request again does not help.
public struct Refusal: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: String, Sendable, CaseIterable {
        case unknownJob = "unknown_job"
        case alreadyQueued = "already_queued"
        case alreadyEnded = "already_ended"
        case versionConflict = "version_conflict"
        case eventIDConflict = "event_id_conflict"
        case invalidEvent = "invalid_event"
        case tooLarge = "too_large"
        /// Another stream of the category holds the value of a key that must be unique.
        case notUnique = "not_unique"
        /// The event refers to a stream that does not exist, or is removed.
        case unknownReference = "unknown_reference"
        /// An event of this type may not follow the stream's last one.
        case invalidTransition = "invalid_transition"
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(code.rawValue): \(message)" }
}

/// The answer to a request: one ``Appended`` per event, or the refusal of the whole request.
public typealias AppendAnswer = Result<[Appended], Refusal>
