/// An event as programs send it, in a line of a file or in the body of a request: `{"job"?, "type",
/// "data"?, "event_id"?, "expected_version"?, "metadata"?, "occurred_at"?}`. An event of another
/// category has `"category"` and `"stream"` where that of a job has `"job"`.
///
/// Data and metadata are cut out of the text unchanged, because the ledger keeps them byte for
/// byte.
package struct SentEvent: Sendable {
    /// The category, if the text names one. Otherwise the event is of a job, or the caller knows
    /// the category from elsewhere.
    package var category: Category?
    /// The job, or the stream of the category, if the text names one. Otherwise the caller knows it
    /// from elsewhere, such as the request's path.
    package var job: JobID?
    package var event: NewEvent
    /// Whether the sender gave the event an id, so that it can retry safely.
    package var hasID: Bool
    package var expectedVersion: Int32?

    package init(category: Category? = nil, job: JobID?, event: NewEvent, hasID: Bool, expectedVersion: Int32?) {
        self.category = category
        self.job = job
        self.event = event
        self.hasID = hasID
        self.expectedVersion = expectedVersion
    }

    /// - Parameters:
    ///   - members: the members of the JSON object.
    ///   - text: where the object was found, for messages: "the line".
    ///   - known: the category that the event is of if the text names none, for messages.
    ///   - needsJob: whether the text must name the job, or the stream of another category.
    /// - Throws: a ``Refusal`` if the members do not describe an event.
    package init(
        members: [JSONText.Slice], in text: String, of known: Category = .job, needsJob: Bool
    ) throws(Refusal) {
        try Self.refuseRepeated(members)
        var (job, stream, category, type): (JobID?, JobID?, Category?, String?)
        var (data, metadata) = ("{}", "{}")
        var id: EventID?
        var (version, moment): (Int32?, Timestamp?)
        for (name, value) in members {
            let isNull = value.elementsEqual("null".utf8)
            switch name {
            case "job": job = JobID(try Self.string(value, name))
            case "stream": stream = JobID(try Self.string(value, name))
            case "category": category = try Self.category(try Self.string(value, name))
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
                    unknown member "\(Self.shown(name.text))"; known are job, category, stream, \
                    type, data, event_id, expected_version, metadata, occurred_at; other \
                    content belongs in "data"
                    """)
            }
        }
        try Self.refuseHalf(job: job, category: category, stream: stream)
        job = job ?? stream
        guard let type, job != nil || !needsJob else {
            let missing = [needsJob && job == nil ? "job" : nil, type == nil ? "type" : nil].compactMap { $0 }
            throw Refusal(
                .invalidEvent,
                "\(missing.joined(separator: " and ")) missing: an event looks like "
                    + Self.example(of: category ?? known, isNamed: needsJob))
        }
        self.init(
            category: category, job: job,
            event: NewEvent(type: type, data: data, metadata: metadata, id: id ?? .version7(), occurredAt: moment),
            hasID: id != nil, expectedVersion: version)
    }

    /// What an event looks like, for messages.
    /// - Parameter isNamed: whether the event names its stream.
    package static func example(of category: Category, isNamed: Bool) -> String {
        let (stream, event) =
            category == .job
            ? (#""job": "backtest-7", "#, #""type": "queued", "data": {"name": "SMA"}"#)
            : (#""category": "\#(category)", "stream": "ID", "#, #""type": "TYPE", "data": {}"#)
        return "{\(isNamed ? stream : "")\(event)}"
    }

    /// Refuses repeated names, because one of the two members would be ignored.
    package static func refuseRepeated(_ members: [JSONText.Slice]) throws(Refusal) {
        guard let name = JSONText.repeatedName(in: members) else { return }
        throw Refusal(.invalidEvent, "\"\(shown(name.text))\" is given twice: remove one of them")
    }

    /// A stream is named by `job`, or by `category` and `stream`.
    private static func refuseHalf(job: JobID?, category: Category?, stream: JobID?) throws(Refusal) {
        guard (category == nil) == (stream == nil) else {
            let (missing, there) = category == nil ? ("category", "stream") : ("stream", "category")
            throw Refusal(
                .invalidEvent,
                "\(missing) missing: with \"\(there)\" an event looks like "
                    + #"{"category": "user", "stream": "u-1", "type": "registered", "data": {}}"#)
        }
        guard job == nil || stream == nil else {
            throw Refusal(
                .invalidEvent,
                #""job" and "stream" are both given: "job" is for jobs, "category" and "stream" are for the others"#)
        }
    }

    private static func category(_ text: String) throws(Refusal) -> Category {
        guard let category = Category(text) else {
            throw Refusal(.invalidEvent, "\"category\" \(Category.problem(with: text))")
        }
        return category
    }

    package static func id(_ text: String) throws(Refusal) -> EventID {
        guard let id = EventID(text: text) else {
            throw Refusal(
                .invalidEvent, "\"event_id\" must be a UUID such as \(EventID.version7().text), not \(shown(text))")
        }
        return id
    }

    /// Reads a number, `"none"` if the stream must not exist yet, or `"any"`, which is the same as
    /// no expected version.
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
                "\(name)" must be an integer from 0 to \(Int32.max), "none" where no event must \
                be there yet, or "any", not \(shown(text))
                """)
        }
        return version
    }

    /// The beginning of a sent text, for messages.
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

    /// The text of a value, unchanged.
    static func json(_ value: ArraySlice<UInt8>, in text: String) throws(Refusal) -> String {
        guard let json = String(utf8: value) else { throw Refusal(.invalidEvent, "\(text) is not UTF-8") }
        return json
    }
}
