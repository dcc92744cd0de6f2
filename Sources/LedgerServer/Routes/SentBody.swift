import HTTPTypes
import LedgerCore

/// The events in a request's body, parsed by its media type.
enum SentBody {
    /// One event; the answer is then not an array.
    case one(SentEvent)
    case several([Result<SentEvent, Refusal>])

    var events: [Result<SentEvent, Refusal>] {
        switch self {
        case .one(let event): [.success(event)]
        case .several(let events): events
        }
    }

    var isOne: Bool {
        if case .one = self { true } else { false }
    }

    /// All events, or the refusal of the first that is invalid, which names it by its index.
    func wholeEvents() throws(Refusal) -> [SentEvent] {
        var whole: [SentEvent] = []
        for (index, event) in events.enumerated() {
            do {
                whole.append(try event.get())
            } catch {
                throw Refusal(error.code, "event \(index): \(error.message)")
            }
        }
        return whole
    }

    static let json = "application/json"
    static let cloudEvent = "application/cloudevents+json"
    static let cloudEventBatch = "application/cloudevents-batch+json"
    private static let accepted = "\(json), \(cloudEvent), \(cloudEventBatch)"

    /// - Parameters:
    ///   - category: the category that the path names, for messages.
    ///   - maxEvents: how many events there may be. A longer array is not parsed any further.
    /// - Throws: ``Problem``, or the ``Refusal`` of a single event.
    init(
        _ sent: [UInt8], _ headers: HTTPFields, of category: Category = .job, needsJob: Bool, maxEvents: Int
    ) throws {
        let body = sent.first == 0xEF ? Array(JSONText.behindByteOrderMark(sent[...])) : sent
        let type = headers.first(.contentType) ?? ""
        if let charset = MediaType.parameter("charset", of: type), !["utf-8", "utf8", "us-ascii"].contains(charset) {
            throw Problem(
                .unsupportedMediaType, "unsupported_media_type",
                "JSON must be sent in UTF-8, not in \(charset.shortened(toBytes: 100))"
            ).adding(.accept, Self.accepted)
        }
        // The usual type is compared without parsing it.
        switch type == Self.json ? type : MediaType.essence(type) {
        case Self.json:
            if headers.first(.cloudEventVersion) != nil {
                self = .one(try Self.binaryCloudEvent(body, headers))
            } else {
                self = try Self.plain(body, of: category, needsJob: needsJob, maxEvents: maxEvents)
            }
        case Self.cloudEvent:
            self = .one(try Self.whole(body) { members throws(Refusal) in try Self.cloudEvent(members) })
        case Self.cloudEventBatch:
            self = .several(
                try Self.each(of: body, maxEvents: maxEvents) { element throws(Refusal) in
                    try Self.cloudEvent(try Self.object(element))
                })
        // An event without data need not name the format of its data.
        case "" where headers.first(.cloudEventVersion) != nil && body.isEmpty:
            self = .one(try Self.binaryCloudEvent(body, headers))
        case let other:
            let what =
                other.isEmpty
                ? "the request has no content-type"
                : "the content-type \(other.shortened(toBytes: 100)) is not supported"
            throw Problem(
                .unsupportedMediaType, "unsupported_media_type",
                "\(what); supported are \(Self.json), \(Self.cloudEvent) and \(Self.cloudEventBatch)"
            ).adding(.accept, Self.accepted)
        }
    }

    private static func plain(
        _ body: [UInt8], of category: Category, needsJob: Bool, maxEvents: Int
    ) throws -> SentBody {
        func event(_ members: [JSONText.Slice]) throws(Refusal) -> SentEvent {
            let event = try SentEvent(members: members, in: "the event", of: category, needsJob: needsJob)
            guard needsJob || event.job == nil else {
                let (name, what) = event.category == nil ? ("job", "job") : ("category", "stream")
                throw Refusal(.invalidEvent, "an event must not have \"\(name)\" here: the path names the \(what)")
            }
            return event
        }
        switch body.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) {
        case UInt8(ascii: "["):
            return .several(
                try each(of: body, maxEvents: maxEvents) { element throws(Refusal) in try event(try object(element)) })
        case UInt8(ascii: "{"): return .one(try whole(body, event))
        default:
            throw Problem.malformedJSON(
                category == .job
                    ? "the body must be a JSON object such as {\"type\": \"progress\", \"data\": {\"completed\": 5}}, "
                        + "or an array of them"
                    : "the body must be a JSON object such as \(SentEvent.example(of: category, isNamed: false)), "
                        + "or an array of them")
        }
    }

    /// Tells a body that is not JSON from one that is not a valid event.
    private static func whole(
        _ body: [UInt8], _ event: ([JSONText.Slice]) throws(Refusal) -> SentEvent
    ) throws -> SentEvent {
        let members: [JSONText.Slice]
        do {
            members = try JSONText.slices(of: body[...])
        } catch {
            throw Problem.malformedJSON("the body is not a JSON object: \(error)")
        }
        do {
            return try event(members)
        } catch let refusal {
            // Any other error may follow from this one, so report this one.
            guard String(utf8: body[...]) != nil else { throw Problem.malformedJSON("the body is not UTF-8") }
            throw refusal
        }
    }

    private static func each(
        of body: [UInt8], maxEvents: Int, _ event: (ArraySlice<UInt8>) throws(Refusal) -> SentEvent
    ) throws -> [Result<SentEvent, Refusal>] {
        let elements: [ArraySlice<UInt8>]
        do {
            elements = try JSONText.elements(of: body[...], most: maxEvents)
        } catch {
            throw Problem.malformedJSON("the body is not a JSON array: \(error)")
        }
        guard elements.count <= maxEvents else {
            throw Problem(
                .contentTooLarge, "too_large",
                "the array has more than \(maxEvents) events; send at most \(maxEvents) in a request")
        }
        return elements.map { element in
            Result { () throws(Refusal) in
                guard String(utf8: element) != nil else { throw Refusal(.invalidEvent, "the event is not UTF-8") }
                return try event(element)
            }
        }
    }

    private static func object(_ text: ArraySlice<UInt8>) throws(Refusal) -> [JSONText.Slice] {
        do {
            return try JSONText.slices(of: text)
        } catch {
            throw Refusal(.invalidEvent, "the event is not a JSON object: \(error)")
        }
    }

    // MARK: CloudEvents

    private static func cloudEvent(_ members: [JSONText.Slice]) throws(Refusal) -> SentEvent {
        try SentEvent.refuseRepeated(members)
        return try SentEvent(
            cloudEvent: members.filter { $0.name != "data" }, data: members.last { $0.name == "data" }?.value)
    }

    /// Binary mode: the attributes are header fields, and the body is the data.
    private static func binaryCloudEvent(_ body: [UInt8], _ headers: HTTPFields) throws -> SentEvent {
        var attributes: [JSONText.Slice] = []
        for field in headers where field.name.canonicalName.hasPrefix("ce-") {
            let name = ExactText(field.name.canonicalName.dropFirst(3))
            guard name != "datacontenttype" else {
                throw Problem.invalidRequest(
                    "in binary mode the field Content-Type gives the datacontenttype; leave out ce-datacontenttype")
            }
            guard !attributes.contains(where: { $0.name == name }) else {
                throw Problem.invalidRequest("the field ce-\(name.text.shortened(toBytes: 100)) may be given once")
            }
            guard let value = Self.unquoted(field.value).flatMap({ Query.decoded($0[...]) }) else {
                throw Problem.invalidRequest(
                    "the field ce-\(name.text.shortened(toBytes: 100)) must be percent-encoded UTF-8 without U+0000; "
                        + "a value that begins with a quotation mark must end with one")
            }
            var json: [UInt8] = []
            json.appendJSON(string: value)
            attributes.append((name, json[...]))
        }
        guard String(utf8: body[...]) != nil else { throw Problem.malformedJSON("the body is not UTF-8") }
        return try SentEvent(cloudEvent: attributes, data: body.isEmpty ? nil : body[...])
    }

    /// A value without its quotes and backslashes (HTTP binding, 3.1.3.2); `nil` if it is not ASCII
    /// or a quote has no end.
    private static func unquoted(_ value: String) -> String? {
        guard value.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
        guard value.hasPrefix("\"") else { return value }
        var (text, rest) = ("", value.dropFirst())
        while let next = rest.popFirst() {
            if next == "\"" { return rest.isEmpty ? text : nil }
            guard let meant = next == "\\" ? rest.popFirst() : next else { return nil }
            text.append(meant)
        }
        return nil
    }
}
