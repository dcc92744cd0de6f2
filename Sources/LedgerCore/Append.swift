/// An event to append.
public struct NewEvent: Sendable, Equatable {
    /// One of ``EventType``'s names; the ledger refuses any other.
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

/// Events of one job that are written all or none.
public struct AppendRequest: Sendable, Equatable {
    public var job: JobID
    public var events: [NewEvent]
    /// The version that the job must have; 0 means that it must not exist, `nil` accepts any
    /// version.
    public var expectedVersion: Int32?

    public init(job: JobID, events: [NewEvent], expectedVersion: Int32? = nil) {
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
