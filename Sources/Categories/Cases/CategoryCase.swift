import LedgerCore

/// A case of a category: a history, and what the ledger says to each of its events.
struct CategoryCase: Sendable {
    struct Event: Sendable {
        let category: ExactText
        let stream: ExactText
        let type: ExactText
        let data: String
        /// The code of the refusal; `nil` for an event that is accepted.
        let refused: ExactText?
    }

    let about: String
    let events: [Event]

    /// - Parameter category: that of events which name none.
    init(reading text: String, file: String, of category: LedgerName) throws(CategoryProblem) {
        let root = try JSONNode(reading: text, category: category.text, file: "cases/\(file)")
        let members = try root.members(known: ["about", "events"])
        guard let about = members.first(where: { $0.name == "about" })?.node,
            let events = members.first(where: { $0.name == "events" })?.node
        else { throw root.problem("\"about\" and \"events\" must be there") }
        self.about = try about.text().text
        var read: [Event] = []
        for event in try events.elements() { read.append(try Self.event(event, of: category)) }
        guard !read.isEmpty else { throw events.problem("there must be one event at least") }
        self.events = read
    }

    private static func event(_ node: JSONNode, of category: LedgerName) throws(CategoryProblem) -> Event {
        var members: [ExactText: JSONNode] = [:]
        for (name, node) in try node.members(known: ["category", "stream", "type", "data", "refused"]) {
            members[name] = node
        }
        guard let stream = members["stream"], let type = members["type"] else {
            throw node.problem("\"stream\" and \"type\" must be there")
        }
        let refused = try members["refused"].map { (node) throws(CategoryProblem) in
            let code = try node.text()
            guard RefusalCodes.all.contains(code) else {
                throw node.mustBe("one of " + RefusalCodes.all.map(\.text).joined(separator: ", "))
            }
            return code
        }
        return Event(
            category: try members["category"]?.text() ?? ExactText(category.text), stream: try stream.text(),
            type: try type.text(), data: members["data"]?.tree.canonical ?? "{}", refused: refused)
    }
}

/// The codes of the ledger's refusals. The SQLSTATE of the first is `JL001`, and so on.
enum RefusalCodes {
    static let all: [ExactText] = [
        "unknown_job", "already_queued", "already_ended", "version_conflict", "event_id_conflict", "invalid_event",
        "too_large", "not_unique", "unknown_reference", "invalid_transition",
    ]

    /// The code of an SQLSTATE; `nil` if it is none of a refusal.
    static func code(of state: String) -> ExactText? {
        guard state.utf8.count == 5, state.hasPrefix("JL"), let number = Int(state.dropFirst(2)),
            (1...all.count).contains(number)
        else { return nil }
        return all[number - 1]
    }
}
