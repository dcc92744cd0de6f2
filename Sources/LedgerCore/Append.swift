/// An event that is to be appended.
public struct NewEvent: Sendable, Equatable {
    /// One of ``EventType``'s names; what else stands here is refused by the ledger.
    public var type: String
    /// A JSON object, kept byte for byte.
    public var data: String
    /// A JSON object: `actor`, `correlation_id`, `causation_id`, `traceparent`, and keys of your
    /// own.
    public var metadata: String
    /// The idempotency key. Send the same one again when you retry.
    public var id: EventID
    /// When it happened by the caller's clock, if that differs from when it is recorded.
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

/// Events of one job that are written together or not at all.
public struct AppendRequest: Sendable, Equatable {
    public var job: JobID
    public var events: [NewEvent]
    /// The version that the job must be at; 0 means that it must not exist, `nil` that any will do.
    public var expectedVersion: Int32?

    public init(job: JobID, events: [NewEvent], expectedVersion: Int32? = nil) {
        self.job = job
        self.events = events
        self.expectedVersion = expectedVersion
    }
}

/// Where an event stands in the log.
public struct Appended: Sendable, Equatable {
    public var position: Position
    public var version: Int32
    public var eventID: EventID
    /// Whether it stood there already: this was a retry.
    public var isDuplicate: Bool

    public init(position: Position, version: Int32, eventID: EventID, isDuplicate: Bool) {
        self.position = position
        self.version = version
        self.eventID = eventID
        self.isDuplicate = isDuplicate
    }
}

/// Why nothing of a request was written. It will not help to send the same again.
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

/// What a request was answered: one ``Appended`` an event, or the refusal of all.
public typealias AppendAnswer = Result<[Appended], Refusal>
