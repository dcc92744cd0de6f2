/// An event that somebody outside the ledger remembers, as a line of a file tells of it. With it,
/// one finds out whether the ledger still has the event.
///
/// These lines are understood: an answer to an append, an entry of the audit trail, a CloudEvent, a
/// line of an exported log, and an event to append that has an id. A line may also have a list of
/// them, or the results of a request for many jobs.
package struct RememberedEvent: Sendable, Equatable {
    package var id: EventID
    /// Where it was in the log; `nil` if the line does not say.
    package var position: Position?
    /// That of jobs if the line does not say.
    package var category: Category
    /// The id of the stream: of the job, if the category is that of jobs.
    package var job: JobID?
    package var type: String?
    /// The whole event, to append it again; `nil` if the line does not have all of it.
    package var request: AppendRequest?

    package init(
        id: EventID, position: Position? = nil, category: Category = .job, job: JobID? = nil, type: String? = nil,
        request: AppendRequest? = nil
    ) {
        self.id = id
        self.position = position
        self.category = category
        self.job = job
        self.type = type
        self.request = request
    }

    /// Why a line tells of no event.
    package struct Unreadable: Error, Sendable, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// The most events of one line. A call has no more.
    private static let mostInLine = AppendLimits.eventsInCall

    /// The events that a line tells of, in order. There are none in an empty line, in the first and
    /// the last line of an export, in a refusal, and in what `tail` says of a divergence.
    package static func all(in line: ArraySlice<UInt8>) throws(Unreadable) -> [RememberedEvent] {
        guard let first = line.first(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) else { return [] }
        var events: [RememberedEvent] = []
        do throws(Unreadable) {
            if first == UInt8(ascii: "[") {
                try add(list: line, to: &events)
            } else {
                try add(line, isInList: false, to: &events)
            }
        } catch {
            // If the line is not UTF-8, every other error follows from that: report this one.
            guard String(utf8: line) != nil else { throw Unreadable(description: "it is not UTF-8") }
            throw error
        }
        return events
    }

    private static func add(list: ArraySlice<UInt8>, to events: inout [RememberedEvent]) throws(Unreadable) {
        let elements: [ArraySlice<UInt8>]
        do {
            elements = try JSONText.elements(of: list, most: mostInLine)
        } catch {
            throw Unreadable(description: "it is not a list in JSON: \(error)")
        }
        guard elements.count <= mostInLine else {
            throw Unreadable(description: "it has a list of more than \(mostInLine) elements")
        }
        for element in elements { try add(element, isInList: true, to: &events) }
    }

    /// - Parameter isInList: whether it is an element of a list. Then it has no list itself: lists
    ///   in lists would be followed without an end.
    private static func add(
        _ object: ArraySlice<UInt8>, isInList: Bool, to events: inout [RememberedEvent]
    ) throws(Unreadable) {
        let members: [JSONText.Slice]
        do {
            members = try JSONText.slices(of: object)
        } catch {
            throw Unreadable(description: "it is not a JSON object: \(error)")
        }
        if let name = JSONText.repeatedName(in: members) {
            throw Unreadable(description: "\"\(SentEvent.shown(name.text))\" is given twice")
        }
        let found = Members(values: Dictionary(members.map { ($0.name, $0.value) }) { $1 })
        // The results of a request for many jobs, and a page of events.
        if !isInList, let list = found.values["results"] ?? found.values["events"] {
            return try add(list: list, to: &events)
        }
        if let event = try found.event(members) { events.append(event) }
    }

    /// The members of an object that may tell of an event.
    private struct Members {
        var values: [ExactText: ArraySlice<UInt8>]

        /// `nil` for an object that is known to tell of none.
        func event(_ members: [JSONText.Slice]) throws(Unreadable) -> RememberedEvent? {
            if values["specversion"] != nil { return try ofCloudEvent() }
            if values["stream_id"] != nil { return try ofExport() }
            if values["event_id"] != nil, values["position"] != nil {
                return RememberedEvent(
                    id: try id("event_id"), position: try position(), category: category ?? .job,
                    job: (text("job") ?? text("stream")).map { JobID($0) }, type: text("type"))
            }
            if values["job"] != nil || values["stream"] != nil, values["type"] != nil { return try toAppend(members) }
            let ofOthers: [ExactText] = ["format", "sha256", "error", "diverged"]
            if ofOthers.contains(where: { values[$0] != nil }) { return nil }
            throw Unreadable(
                description: "it names no event: an answer has \"position\" and \"event_id\", a CloudEvent \"id\"")
        }

        private func text(_ name: ExactText) -> String? { values[name].flatMap { JSONText.string(from: $0) } }

        private var category: Category? { text("category").flatMap { Category($0) } }

        private func id(_ name: ExactText) throws(Unreadable) -> EventID {
            guard let id = text(name).flatMap({ EventID(text: $0) }) else {
                throw Unreadable(description: "\"\(name)\" is not a UUID")
            }
            return id
        }

        /// A number, or its digits as a string.
        private func position() throws(Unreadable) -> Position {
            let digits = text("position") ?? values["position"].flatMap { String(utf8: $0) } ?? ""
            guard let position = Position(position: digits), position > 0 else {
                throw Unreadable(description: "\"position\" is not a position")
            }
            return position
        }

        private func toAppend(_ members: [JSONText.Slice]) throws(Unreadable) -> RememberedEvent {
            let sent: SentEvent
            do {
                sent = try SentEvent(members: members, in: "the line", needsJob: true)
            } catch {
                throw Unreadable(description: error.message)
            }
            guard sent.hasID else {
                throw Unreadable(description: "the event has no \"event_id\", so nobody can tell whether it is there")
            }
            let request = AppendRequest(
                category: sent.category ?? .job, job: sent.job ?? "", events: [sent.event],
                expectedVersion: sent.expectedVersion)
            return RememberedEvent(
                id: sent.event.id, category: request.category, job: sent.job, type: sent.event.type, request: request)
        }

        /// A line of an exported log. It has data and metadata as strings, byte for byte.
        private func ofExport() throws(Unreadable) -> RememberedEvent {
            let (id, position) = (try id("event_id"), try position())
            guard let job = text("stream_id").map({ JobID($0) }), let type = text("type") else {
                throw Unreadable(description: "\"stream_id\" or \"type\" is not a text")
            }
            var event = RememberedEvent(
                id: id, position: position, category: category ?? .job, job: job, type: type)
            guard let data = text("data"), let metadata = text("metadata"), let category else { return event }
            event.request = request(
                NewEvent(
                    type: type, data: data, metadata: metadata, id: id,
                    occurredAt: text("occurred_at").flatMap { Timestamp($0) }), to: category, job)
            return event
        }

        /// A CloudEvent of a ledger. It does not have metadata of the appender's own, and no line
        /// breaks between the tokens of the data. All else is as it was sent.
        private func ofCloudEvent() throws(Unreadable) -> RememberedEvent {
            let (id, position) = (try id("id"), values["position"] == nil ? nil : try position())
            guard let (category, type) = text("type").flatMap({ CloudEvent.type(of: $0) }),
                let job = text("subject").map({ JobID($0) })
            else {
                throw Unreadable(description: "it is a CloudEvent of something else than a ledger")
            }
            var event = RememberedEvent(id: id, position: position, category: category, job: job, type: type)
            guard let data = values["data"].flatMap({ String(utf8: $0) }) else { return event }
            // A time that is that of recording was not sent.
            let (time, recorded) = (text("time").flatMap { Timestamp($0) }, text("recordedtime"))
            let occurredAt = recorded.flatMap { Timestamp($0) } == time ? nil : time
            event.request = request(
                NewEvent(type: type, data: data, metadata: metadata, id: id, occurredAt: occurredAt),
                to: category, job)
            return event
        }

        private var metadata: String {
            var json: [UInt8] = []
            for (name, attribute) in MetadataAttributes.shown {
                guard let value = values[ExactText(attribute)] else { continue }
                json += (json.isEmpty ? "{" : ",").utf8
                json.appendJSON(string: name)
                json += ":".utf8
                json += value
            }
            return json.isEmpty ? "{}" : String(decoding: json, as: UTF8.self) + "}"
        }

        private func request(_ event: NewEvent, to category: Category, _ job: JobID) -> AppendRequest {
            AppendRequest(category: category, job: job, events: [event])
        }
    }
}
