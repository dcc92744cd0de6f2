internal import HTTPTypes
internal import LedgerCore

/// The events in a body, by its media type.
enum SentBody {
    /// One event, or an array, which the answer then is too.
    case one(SentEvent)
    case several([Result<SentEvent, Refusal>])

    var events: [Result<SentEvent, Refusal>] {
        switch self {
        case .one(let event): [.success(event)]
        case .several(let events): events
        }
    }

    /// For who wants all of them or none; the refusal says which one it is.
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

    /// - Throws: ``Problem``, or the ``Refusal`` of a single event.
    init(_ sent: [UInt8], _ headers: HTTPFields, needsJob: Bool) throws {
        let body = sent.first == 0xEF ? Array(JSONText.behindByteOrderMark(sent[...])) : sent
        let type = headers.first(.contentType) ?? ""
        // Most say it just so.
        switch type == Self.json ? type : MediaType.essence(type) {
        case Self.json:
            if headers.first(.cloudEventVersion) != nil {
                self = .one(try Self.binaryCloudEvent(body, headers))
            } else {
                self = try Self.plain(body, needsJob: needsJob)
            }
        case Self.cloudEvent: self = .one(try Self.whole(body) { members throws(Refusal) in try Self.cloudEvent(members) })
        case Self.cloudEventBatch:
            self = .several(try Self.each(of: body) { element throws(Refusal) in try Self.cloudEvent(try Self.object(element)) })
        case let other:
            let what = other.isEmpty ? "there is no content-type" : "the content-type \(other) is not known here"
            throw Problem(
                .unsupportedMediaType, "unsupported_media_type",
                "\(what); there are \(Self.json), \(Self.cloudEvent) and \(Self.cloudEventBatch)"
            ).adding(.accept, "\(Self.json), \(Self.cloudEvent), \(Self.cloudEventBatch)")
        }
    }

    private static func plain(_ body: [UInt8], needsJob: Bool) throws -> SentBody {
        func event(_ members: [(name: String, value: ArraySlice<UInt8>)]) throws(Refusal) -> SentEvent {
            let event = try SentEvent(members: members, in: "the event", needsJob: needsJob)
            guard needsJob || event.job == nil else {
                throw Refusal(.invalidEvent, "\"job\" stands in the path, and not in the event")
            }
            return event
        }
        switch body.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) {
        case UInt8(ascii: "["):
            return .several(try each(of: body) { element throws(Refusal) in try event(try object(element)) })
        case UInt8(ascii: "{"): return .one(try whole(body, event))
        default:
            throw Problem.malformedJSON(
                "the body must be a JSON object such as {\"type\": \"progress\", \"data\": {\"completed\": 5}}, or an array of them"
            )
        }
    }

    /// What is no JSON at all is told apart from what is none of our events.
    private static func whole(
        _ body: [UInt8], _ event: ([(name: String, value: ArraySlice<UInt8>)]) throws(Refusal) -> SentEvent
    ) throws -> SentEvent {
        let members: [(name: String, value: ArraySlice<UInt8>)]
        do {
            members = try JSONText.slices(of: body[...])
        } catch {
            throw Problem.malformedJSON("the body is no JSON: \(error)")
        }
        do {
            return try event(members)
        } catch let refusal {
            // Whatever else is wrong with it follows from this.
            guard String(utf8: body[...]) != nil else { throw Problem.malformedJSON("the body is not UTF-8") }
            throw refusal
        }
    }

    private static func each(
        of body: [UInt8], _ event: (ArraySlice<UInt8>) throws(Refusal) -> SentEvent
    ) throws -> [Result<SentEvent, Refusal>] {
        let elements: [ArraySlice<UInt8>]
        do {
            elements = try JSONText.elements(of: body[...])
        } catch {
            throw Problem.malformedJSON("the body is no JSON array: \(error)")
        }
        return elements.map { element in
            Result { () throws(Refusal) in
                guard String(utf8: element) != nil else { throw Refusal(.invalidEvent, "the event is not UTF-8") }
                return try event(element)
            }
        }
    }

    private static func object(_ text: ArraySlice<UInt8>) throws(Refusal) -> [(name: String, value: ArraySlice<UInt8>)] {
        do {
            return try JSONText.slices(of: text)
        } catch {
            throw Refusal(.invalidEvent, "the event is no JSON object: \(error)")
        }
    }

    // MARK: CloudEvents

    private static func cloudEvent(_ members: [(name: String, value: ArraySlice<UInt8>)]) throws(Refusal) -> SentEvent {
        try SentEvent(cloudEvent: members.filter { $0.name != "data" }, data: members.last { $0.name == "data" }?.value)
    }

    /// Binary mode: the attributes are headers, percent-encoded, and the body is the data.
    private static func binaryCloudEvent(_ body: [UInt8], _ headers: HTTPFields) throws -> SentEvent {
        var attributes: [(name: String, value: ArraySlice<UInt8>)] = []
        for field in headers where field.name.canonicalName.hasPrefix("ce-") {
            guard let value = Query.decoded(field.value[...]) else {
                throw Problem.invalidRequest("the header \(field.name.canonicalName) is not percent-encoded UTF-8")
            }
            var json: [UInt8] = []
            json.appendJSON(string: value)
            attributes.append((String(field.name.canonicalName.dropFirst(3)), json[...]))
        }
        guard String(utf8: body[...]) != nil else { throw Problem.malformedJSON("the body is not UTF-8") }
        return try SentEvent(cloudEvent: attributes, data: body.isEmpty ? nil : body[...])
    }
}
