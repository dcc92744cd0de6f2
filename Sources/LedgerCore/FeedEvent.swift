/// An event as the feed delivers it: its CloudEvent as bytes, and their decoded content.
///
/// Forward ``json`` as it is; many subscribers share one copy. Of the metadata it has the members
/// that a CloudEvent has (``actor`` and so on). Other keys stay in the log.
public struct FeedEvent: Sendable, Equatable {
    public let position: Position
    public let id: EventID
    /// The kind of the stream that the event belongs to.
    public let category: Category
    /// The id of the stream: of the job, if the category is that of jobs.
    public let job: JobID
    public let version: Int32
    public let type: EventType
    /// When it occurred by the caller's clock, or when it was recorded if the caller did not say.
    public let time: Timestamp
    public let recordedAt: Timestamp
    /// The job's known total after this event, 0 where unknown.
    public let total: Int32
    /// The CloudEvent, on one line.
    public let json: [UInt8]
    /// Where ``json`` has the data.
    private let dataPlace: Range<Int>?

    /// The data as JSON, exactly as sent except that line breaks between tokens are spaces; `nil`
    /// if large data was left out.
    public var data: String? { dataPlace.map { String(decoding: json[$0], as: UTF8.self) } }

    /// Whether nothing follows this event in the life of its job. False for other categories.
    public var endsJob: Bool { type.isEnd && category == .job }

    /// Whether there is ``data``, without making a string of it.
    public var hasData: Bool { dataPlace != nil }

    package init(_ event: RecordedEvent, of ledger: LedgerName) {
        position = event.position
        id = event.id
        category = event.category
        job = event.job
        version = event.version
        type = event.type
        time = event.occurredAt ?? event.recordedAt
        recordedAt = event.recordedAt
        total = event.total
        json = CloudEvent(event, of: ledger).json
        // Data comes last, before the closing brace.
        dataPlace = event.data.map { [end = json.count - 1] in end - $0.utf8.count..<end }
    }

    /// Reads a CloudEvent that a relay or the service has written.
    public init(json: [UInt8]) throws(Malformed) {
        var members = Members()
        do {
            for (name, value) in try JSONText.slices(of: json[...]) { members.add(name, value) }
        } catch {
            throw Malformed(description: "no JSON object: \(error)")
        }
        func required<Value>(_ value: Value?, _ name: String) throws(Malformed) -> Value {
            guard let value else { throw Malformed(description: "\"\(name)\" is missing, or not what it should be") }
            return value
        }
        position = try required(members.position, "position")
        id = try required(members.id, "id")
        job = try required(members.job, "subject")
        version = try required(members.version, "streamversion")
        (category, type) = try required(members.type, "type")
        time = try required(members.time, "time")
        recordedAt = try required(members.recordedAt, "recordedtime")
        total = members.total
        dataPlace = members.data
        self.json = json
    }

    /// Why bytes are not a CloudEvent of a ledger.
    public struct Malformed: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// Who did it.
    public var actor: ExactText? { attribute("actor").map { ExactText($0) } }
    public var correlationID: ExactText? { attribute("correlationid").map { ExactText($0) } }
    public var causationID: ExactText? { attribute("causationid").map { ExactText($0) } }
    public var traceparent: String? { attribute("traceparent") }
    /// The path from which the service returns data that was left out.
    public var dataReference: String? { attribute("dataref") }

    /// Few callers read these attributes, so they are parsed on demand.
    private func attribute(_ name: ExactText) -> String? {
        guard let members = try? JSONText.slices(of: json[...]) else { return nil }
        return members.first { $0.name == name }.flatMap { JSONText.string(from: $0.value) }
    }

    /// The members that are read of a CloudEvent. Others are ignored.
    private struct Members {
        var (position, id, job, version): (Position?, EventID?, JobID?, Int32?)
        var (type, time, recordedAt, data): ((Category, EventType)?, Timestamp?, Timestamp?, Range<Int>?)
        var total: Int32 = 0

        mutating func add(_ name: ExactText, _ value: ArraySlice<UInt8>) {
            switch name {
            case "position":
                position = JSONText.string(from: value).flatMap { Position(position: $0) }.flatMap { $0 > 0 ? $0 : nil }
            case "id": id = JSONText.string(from: value).flatMap { EventID(text: $0) }
            case "subject": job = JSONText.string(from: value).map { JobID($0) }
            case "streamversion":
                version = Int32(decimal: String(decoding: value, as: UTF8.self)).flatMap { $0 > 0 ? $0 : nil }
            case "type":
                type = JSONText.string(from: value).flatMap { CloudEvent.type(of: $0) }.flatMap { category, name in
                    EventType(rawValue: name).map { (category, $0) }
                }
            case "time": time = JSONText.string(from: value).flatMap { Timestamp($0) }
            case "recordedtime": recordedAt = JSONText.string(from: value).flatMap { Timestamp($0) }
            case "total": total = max(0, Int32(decimal: String(decoding: value, as: UTF8.self)) ?? 0)
            case "data": data = value.indices
            default: break
            }
        }
    }
}
