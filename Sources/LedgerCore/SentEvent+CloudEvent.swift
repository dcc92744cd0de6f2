extension SentEvent {
    /// Reads the attributes of a CloudEvent 1.0 and its data.
    ///
    /// `id` is the event id and must be a UUID. `type` is `io.jobledger.job.progress` or the same
    /// with another category and event type, `subject` the job or stream, `time` when it occurred.
    /// `actor`, `correlationid`, `causationid` and `traceparent` become metadata under the ledger's
    /// own names, `source` and all other extensions under theirs. `position`, `streamversion`,
    /// `recordedtime` and `total` are ignored: a ledger that appends the event gives it new ones.
    /// - Parameters:
    ///   - attributes: names and values; each value is JSON text.
    ///   - data: JSON text; `nil` if there is none.
    package init(
        cloudEvent attributes: [JSONText.Slice], data: ArraySlice<UInt8>?
    ) throws(Refusal) {
        try Self.refuseRepeated(attributes)
        var sent = CloudEventAttributes()
        for (name, value) in attributes where !value.elementsEqual("null".utf8) {
            try sent.read(name, value)
        }
        let (id, category, type) = try sent.required()
        let event = NewEvent(
            type: type,
            data: try data.map { data throws(Refusal) in try Self.json(data, in: "the data") } ?? "{}",
            metadata: try Self.json((Array("{".utf8) + sent.metadata + Array("}".utf8))[...], in: "the event"),
            id: id, occurredAt: sent.occurredAt)
        self.init(
            category: category, job: sent.job, event: event, hasID: true, expectedVersion: sent.expectedVersion)
    }
}

/// Collects the attributes of a CloudEvent, one by one.
private struct CloudEventAttributes {
    private var specVersion: String?
    private var id: String?
    private var source: String?
    private var type: String?
    private(set) var job: JobID?
    private(set) var occurredAt: Timestamp?
    private(set) var expectedVersion: Int32?
    /// The members of the event's metadata as JSON text, without the braces around them.
    private(set) var metadata: [UInt8] = []

    mutating func read(_ name: ExactText, _ value: ArraySlice<UInt8>) throws(Refusal) {
        switch name {
        case "specversion": specVersion = try SentEvent.string(value, name)
        case "id": id = try SentEvent.string(value, name)
        case "type": type = try SentEvent.string(value, name)
        case "subject": job = JobID(try SentEvent.string(value, name))
        case "time": occurredAt = try SentEvent.moment(try SentEvent.string(value, name), name)
        case "datacontenttype": try Self.requireJSON(mediaType: try SentEvent.string(value, name))
        case "data_base64":
            throw Refusal(.invalidEvent, "\"data_base64\": an event's data is a JSON object, in \"data\"")
        case "expectedversion":
            // In a header a number arrives as a string.
            let text = JSONText.string(from: value).flatMap {
                Int32(decimal: $0) == nil ? nil : Array($0.utf8)[...]
            }
            expectedVersion = try SentEvent.expectedVersion(text ?? value, name)
        case "position", "streamversion", "recordedtime", "total": break
        case "dataref":
            throw Refusal(
                .invalidEvent,
                """
                "dataref": the event must have the data itself; fetch it first, from \
                \(try SentEvent.string(value, name).shortened(toBytes: 200))
                """)
        default: try readMetadata(name, value)
        }
    }

    /// Reads `source` or an extension, which become metadata.
    private mutating func readMetadata(_ name: ExactText, _ value: ArraySlice<UInt8>) throws(Refusal) {
        if name == "source" {
            let text = try SentEvent.string(value, name)
            if text.isEmpty {
                throw Refusal(.invalidEvent, "\"source\" must not be empty: it says where the event comes from")
            }
            source = text
        } else if let first = value.first, first == UInt8(ascii: "{") || first == UInt8(ascii: "[") {
            throw Refusal(
                .invalidEvent, "\"\(name)\" must be a text, a number, true or false: an attribute has no members")
        }
        guard !name.isEmpty, name.utf8.allSatisfy(Self.isAttributeCharacter) else {
            throw Refusal(
                .invalidEvent,
                """
                "\(SentEvent.shown(name.text))" is not a name of an attribute: names have \
                only lower-case letters a–z and digits; other content belongs in "data"
                """)
        }
        metadata += (metadata.isEmpty ? "\"" : ",\"").utf8
        metadata += (Self.metadataNames[name] ?? name.text).utf8
        metadata += "\":".utf8
        metadata += value
    }

    /// The event's id, and its category and type in the ledger.
    /// - Throws: a ``Refusal`` if a required attribute is missing or wrong.
    func required() throws(Refusal) -> (id: EventID, category: Category, type: String) {
        guard specVersion == "1.0" else {
            throw Refusal(.invalidEvent, "\"specversion\" must be \"1.0\": an event is a CloudEvent 1.0")
        }
        guard let id, source != nil, let type else {
            let missing = [id == nil ? "id" : nil, source == nil ? "source" : nil, type == nil ? "type" : nil]
                .compactMap { $0 }
            throw Refusal(
                .invalidEvent,
                """
                \(missing.joined(separator: " and ")) missing: a CloudEvent has "id" (a UUID), \
                "source" and "type" (such as \(CloudEvent.jobTypePrefix)progress)
                """)
        }
        guard let eventID = EventID(text: id) else {
            throw Refusal(
                .invalidEvent,
                """
                "id" must be a UUID such as \(EventID.version7().text), because it becomes the \
                event's id in the ledger, not \(SentEvent.shown(id))
                """)
        }
        guard let (category, name) = CloudEvent.type(of: type) else {
            throw Refusal(
                .invalidEvent,
                """
                "type" must be \(CloudEvent.jobTypePrefix)queued, or the same with progress, \
                truncated, finished or failed, or with another category and a type of it, \
                not \(SentEvent.shown(type))
                """)
        }
        return (eventID, category, name)
    }

    /// Media types do not distinguish upper and lower case (RFC 9110, 8.3.1). Parameters do not
    /// matter here.
    private static func requireJSON(mediaType: String) throws(Refusal) {
        let essence = mediaType.utf8.prefix { $0 != UInt8(ascii: ";") }.filter { $0 != 0x20 && $0 != 0x09 }
        let type = String(decoding: essence, as: UTF8.self).lowercased()
        guard type == "application/json" || type.hasSuffix("+json") else {
            throw Refusal(
                .invalidEvent,
                """
                "datacontenttype" must be application/json, or a type that ends with \
                +json, because an event's data is a JSON object, not \(SentEvent.shown(mediaType))
                """)
        }
    }

    private static let metadataNames: [ExactText: String] = [
        "correlationid": "correlation_id", "causationid": "causation_id",
    ]

    private static func isAttributeCharacter(_ byte: UInt8) -> Bool {
        byte.isDigit || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
    }
}
