import AsyncHTTPClient
import Foundation
public import LedgerCore
import NIOCore
import NIOHTTP1

extension LedgerClient {
    /// Appends one event.
    /// - Parameters:
    ///   - event: what happened. Its id is what a repeated call is recognized by.
    ///   - job: the job to which it happened, or the stream of another category.
    ///   - category: the kind of the stream.
    ///   - expectedVersion: the job's version before the event, 0 for none; `nil` for any.
    ///   - level: what the event must reach before the call returns, if the ledger demands less.
    /// - Returns: the event's place; `isDuplicate` if it was written before, perhaps by an earlier
    ///   attempt of this same call.
    /// - Throws: ``/LedgerCore/Refusal``, ``LedgerClientError``; of the kind `notDurable` if the
    ///   event is written and has not reached the level within `retryTimeout`, or `unavailable` if
    ///   the service does not know whether it is written.
    @discardableResult
    public func append(
        _ event: NewEvent, to job: JobID, category: Category = .job, expectedVersion: Int32? = nil,
        atLeast level: Durability = .local
    ) async throws -> Appended {
        try await append([event], to: job, category: category, expectedVersion: expectedVersion, atLeast: level)[0]
    }

    /// Appends events of one job, or of one stream of another category, all or none.
    /// - Parameters:
    ///   - events: what happened, in order.
    ///   - job: the job to which it happened, or the stream of another category.
    ///   - category: the kind of the stream.
    ///   - expectedVersion: the job's version before the first event, 0 for none; `nil` for any.
    ///   - level: what the events must reach before the call returns, if the ledger demands less.
    /// - Returns: one answer per event, in order.
    @discardableResult
    public func append(
        _ events: [NewEvent], to job: JobID, category: Category = .job, expectedVersion: Int32? = nil,
        atLeast level: Durability = .local
    ) async throws -> [Appended] {
        guard !events.isEmpty else { return [] }
        for event in events { try event.checkTexts() }
        var json: [UInt8] = []
        json.append(list: events.enumerated()) { json, event in
            json.append(event.element, to: nil, expectedVersion: event.offset == 0 ? expectedVersion : nil)
        }
        let answer = try await post(Self.eventsPath(of: job, in: category) + Self.query(level), json)
        let decoded = try Self.decode([AppendedJSON].self, from: answer)
        let appended = try Self.matched(decoded.map { try $0.appended() }, to: events.count)
        let request = AppendRequest(category: category, job: job, events: events, expectedVersion: expectedVersion)
        remember(request, appended)
        return appended
    }

    private static func query(_ level: Durability) -> String {
        level == .local ? "" : "?durability=\(level.rawValue)"
    }

    /// Appends events of many jobs, and of other streams, in order. Each succeeds or is refused by
    /// itself.
    /// - Parameters:
    ///   - requests: with one event each.
    ///   - level: what the events must reach before the call returns, if the ledger demands less.
    /// - Returns: one answer per request, in order.
    public func append(_ requests: [AppendRequest], atLeast level: Durability = .local) async throws -> [AppendAnswer] {
        precondition(
            requests.allSatisfy { $0.events.count == 1 },
            "events that belong together go to one stream: append(_:to:)")
        // Text that would break the request's JSON is refused here.
        let refusals = requests.map { request -> Refusal? in
            do throws(Refusal) { try request.events[0].checkTexts() } catch { return error }
            return nil
        }
        let sound = zip(requests, refusals).filter { $0.1 == nil }.map(\.0)
        var answers: [AppendAnswer] = []
        if !sound.isEmpty {
            var json: [UInt8] = []
            json.append(list: sound) { json, request in
                json.append(request.events[0], to: request, expectedVersion: request.expectedVersion)
            }
            let results = try Self.decode(
                ResultsJSON.self, from: try await post("/v1/events" + Self.query(level), json)
            ).results
            answers = try Self.matched(results.map { try $0.answer() }, to: sound.count)
            for (request, answer) in zip(sound, answers) {
                if case .success(let appended) = answer { remember(request, appended) }
            }
            answers.reverse()
        }
        return refusals.map { refusal in refusal.map { .failure($0) } ?? answers.removeLast() }
    }

    private func remember(_ request: AppendRequest, _ appended: [Appended]) {
        guard let memory, let last = appended.last else { return }
        memory.add(request, at: last.position)
    }

    private func post(_ path: String, _ json: [UInt8]) async throws -> Answer {
        var request = request(.POST, path)
        request.headers.add(name: "content-type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: json))
        return try await send(request)
    }

    private static func matched<Element>(_ answers: [Element], to count: Int) throws -> [Element] {
        guard answers.count == count else {
            throw LedgerClientError(.notUnderstood, "the service gave \(answers.count) answers to \(count) events")
        }
        return answers
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from answer: Answer) throws(LedgerClientError) -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(answer.body))
        } catch {
            throw LedgerClientError(.notUnderstood, "the service's answer is malformed: \(error)")
        }
    }

    /// The path of a stream's events.
    static func eventsPath(of stream: JobID, in category: Category) -> String {
        "/v1/\(category == .job ? "jobs" : "streams/\(category)")/\(encoded(stream))/events"
    }

    static func encoded(_ job: JobID) -> String { encoded(job.text) }

    /// `text` percent-encoded, for a part of a path or a value of a query.
    static func encoded(_ text: String) -> String {
        let plain = CharacterSet(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
        return text.addingPercentEncoding(withAllowedCharacters: plain) ?? text
    }
}

struct AppendedJSON: Decodable {
    var position: Position
    var version: Int32
    var eventID: String
    var duplicate: Bool
    /// Services of an earlier version leave it out.
    var durability: String?

    private enum CodingKeys: String, CodingKey {
        case position, version, duplicate, durability
        case eventID = "event_id"
    }

    func appended() throws(LedgerClientError) -> Appended {
        guard let id = EventID(text: eventID) else {
            throw LedgerClientError(.notUnderstood, "\"\(eventID)\" is not an event id")
        }
        return Appended(
            position: position, version: version, eventID: id, isDuplicate: duplicate,
            durability: durability.flatMap { Durability(rawValue: $0) } ?? .local)
    }
}

struct ResultsJSON: Decodable {
    var results: [Item]

    enum Item: Decodable {
        case appended(AppendedJSON)
        case refused(Refused)

        struct Refused: Decodable {
            var error: Problem
            struct Problem: Decodable {
                var code: String
                var message: String
            }
        }

        private enum Member: String, CodingKey { case error }

        init(from decoder: any Decoder) throws {
            let isRefused = try decoder.container(keyedBy: Member.self).contains(.error)
            self = try isRefused ? .refused(Refused(from: decoder)) : .appended(AppendedJSON(from: decoder))
        }

        func answer() throws(LedgerClientError) -> AppendAnswer {
            switch self {
            case .appended(let appended): return .success([try appended.appended()])
            case .refused(let refused):
                guard let code = Refusal.Code(rawValue: refused.error.code) else {
                    throw LedgerClientError(
                        .notUnderstood, "an event was refused with the unknown code \(refused.error.code)")
                }
                return .failure(Refusal(code, refused.error.message))
            }
        }
    }
}

extension [UInt8] {
    fileprivate mutating func append<Elements: Sequence>(
        list elements: Elements, _ append: (inout [UInt8], Elements.Element) -> Void
    ) {
        self.append(UInt8(ascii: "["))
        var isFirst = true
        for element in elements {
            if !isFirst { self.append(UInt8(ascii: ",")) }
            isFirst = false
            append(&self, element)
        }
        self.append(UInt8(ascii: "]"))
    }

    /// Data and metadata are sent as they are, byte for byte; the service refuses text that is not
    /// JSON.
    /// - Parameter request: names the stream; `nil` where the path does.
    fileprivate mutating func append(_ event: NewEvent, to request: AppendRequest?, expectedVersion: Int32?) {
        self += "{".utf8
        if let request {
            self +=
                (request.category == .job ? "\"job\":" : "\"category\":\"\(request.category)\",\"stream\":").utf8
            appendJSON(string: request.job)
            self += ",".utf8
        }
        self += "\"type\":".utf8
        appendJSON(string: event.type)
        self += ",\"event_id\":\"\(event.id.text)\",\"data\":".utf8
        self += event.data.utf8
        if event.metadata != "{}" {
            self += ",\"metadata\":".utf8
            self += event.metadata.utf8
        }
        if let expectedVersion { self += ",\"expected_version\":\(expectedVersion)".utf8 }
        if let moment = event.occurredAt { self += ",\"occurred_at\":\"\(moment)\"".utf8 }
        self += "}".utf8
    }
}
