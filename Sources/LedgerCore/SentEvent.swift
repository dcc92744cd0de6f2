/// An event as programs send it, in a line of a file or in a request's body:
/// `{"job"?, "type", "data"?, "event_id"?, "expected_version"?, "metadata"?, "occurred_at"?}`.
///
/// Data and metadata are cut out of the text as they stand there: the ledger keeps them byte for
/// byte.
public struct SentEvent: Sendable {
    /// Where the text names one; elsewhere the job is known from somewhere else.
    public var job: JobID?
    public var event: NewEvent
    /// Whether the sender gave the event its id, and so can retry.
    public var hasID: Bool
    public var expectedVersion: Int32?

    public init(job: JobID?, event: NewEvent, hasID: Bool, expectedVersion: Int32?) {
        self.job = job
        self.event = event
        self.hasID = hasID
        self.expectedVersion = expectedVersion
    }

    /// - Parameters:
    ///   - members: of the JSON object.
    ///   - text: what the object stands in, for messages: "the line".
    ///   - needsJob: whether the text must name the job.
    /// - Throws: the ``Refusal`` of what says nothing that the ledger could be asked.
    public init(
        members: [JSONText.Slice], in text: String, needsJob: Bool
    ) throws(Refusal) {
        try Self.refuseRepeated(members)
        var (job, type): (JobID?, String?)
        var (data, metadata) = ("{}", "{}")
        var id: EventID?
        var (version, moment): (Int32?, Timestamp?)
        for (name, value) in members {
            let isNull = value.elementsEqual("null".utf8)
            switch name {
            case "job": job = JobID(try Self.string(value, name))
            case "type": type = try Self.string(value, name)
            case "data": data = try Self.json(value, in: text)
            case "metadata" where isNull, "event_id" where isNull, "expected_version" where isNull,
                "occurred_at" where isNull:
                continue
            case "metadata": metadata = try Self.json(value, in: text)
            case "event_id": id = try Self.id(try Self.string(value, name))
            case "expected_version": version = try Self.expectedVersion(value, name)
            case "occurred_at": moment = try Self.moment(try Self.string(value, name), name)
            default:
                throw Refusal(
                    .invalidEvent,
                    """
                    unknown member "\(Self.shown(name.text))"; known are job, type, data, \
                    event_id, expected_version, metadata, occurred_at; what the event says \
                    belongs into "data"
                    """)
            }
        }
        guard let type, job != nil || !needsJob else {
            let missing = [needsJob && job == nil ? "job" : nil, type == nil ? "type" : nil].compactMap { $0 }
            throw Refusal(
                .invalidEvent,
                """
                \(missing.joined(separator: " and ")) missing: an event is such as \
                {\(needsJob ? #""job": "backtest-7", "# : "")"type": "queued", "data": {"name": \
                "SMA"}}
                """)
        }
        self.init(
            job: job,
            event: NewEvent(type: type, data: data, metadata: metadata, id: id ?? .version7(), occurredAt: moment),
            hasID: id != nil, expectedVersion: version)
    }

    /// Nothing of an event is passed over: of two members of one name, one would be.
    public static func refuseRepeated(_ members: [JSONText.Slice]) throws(Refusal) {
        guard let name = JSONText.repeatedName(in: members) else { return }
        throw Refusal(.invalidEvent, "\"\(shown(name.text))\" stands there twice: leave one of them out")
    }

    public static func id(_ text: String) throws(Refusal) -> EventID {
        guard let id = EventID(text: text) else {
            throw Refusal(
                .invalidEvent, "\"event_id\" must be a UUID such as \(EventID.version7().text), not \(shown(text))")
        }
        return id
    }

    /// A number, `"none"` where the job must not exist yet, or `"any"`, which is as if nothing were
    /// said.
    static func expectedVersion(_ value: ArraySlice<UInt8>, _ name: ExactText) throws(Refusal) -> Int32? {
        let text = String(decoding: value, as: UTF8.self)
        switch JSONText.string(from: value) {
        case "none": return 0
        case "any": return nil
        default: break
        }
        guard let version = Int32(decimal: text), version >= 0 else {
            throw Refusal(
                .invalidEvent,
                """
                "\(name)" must be an integer from 0 to \(Int32.max), "none" where the job must \
                not exist yet, or "any", not \(shown(text))
                """)
        }
        return version
    }

    /// The beginning of what was sent, for messages.
    static func shown(_ text: String) -> String { text.shortened(toBytes: 60) }

    static func moment(_ text: String, _ name: ExactText) throws(Refusal) -> Timestamp {
        guard let moment = Timestamp(text) else {
            throw Refusal(.invalidEvent, "\"\(name)\" \(Timestamp.problem(with: text))")
        }
        return moment
    }

    static func string(_ value: ArraySlice<UInt8>, _ name: ExactText) throws(Refusal) -> String {
        guard let text = JSONText.string(from: value) else {
            let shown = shown(String(decoding: value.prefix(100), as: UTF8.self))
            throw Refusal(
                .invalidEvent, "\"\(name)\" must be a text, in quotes and without half a surrogate pair, not \(shown)")
        }
        return text
    }

    /// A value as it stands there.
    static func json(_ value: ArraySlice<UInt8>, in text: String) throws(Refusal) -> String {
        guard let json = String(utf8: value) else { throw Refusal(.invalidEvent, "\(text) is not UTF-8") }
        return json
    }
}
