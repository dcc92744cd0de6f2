import LedgerCore
import Postgres

/// The requests of one call of the append function, encoded as they are added.
struct AppendBatch: Sendable {
    /// How much goes in one call: enough to share a commit, not so much that others wait long for it.
    static let mostEvents = 1000
    static let mostBytes = 16 << 20

    private(set) var requests: [AppendRequest] = []
    private(set) var events = 0
    private var bytes = 0
    /// By request: what Postgres has no text for would fail the whole call, so it is answered here.
    private var refused: [Int: Refusal] = [:]

    private var jobs = PostgresArray<String>()
    private var types = PostgresArray<String>()
    private var data = PostgresArray<String>()
    private var metadata = PostgresArray<String>()
    private var expectedVersions = PostgresArray<Int32?>()
    private var ids = PostgresArray<EventID>()
    private var moments = PostgresArray<PostgresTimestamp?>()
    private var numbers = PostgresArray<Int32>()

    init() {}

    /// As many of `requests` as fit, taken from the front; at least one.
    init(taking requests: inout ArraySlice<AppendRequest>) {
        while let request = requests.first, self.requests.isEmpty || hasRoom(for: request) {
            add(request)
            requests.removeFirst()
        }
    }

    private func hasRoom(for request: AppendRequest) -> Bool {
        events + request.events.count <= Self.mostEvents && bytes + request.size <= Self.mostBytes
    }

    mutating func add(_ request: AppendRequest) {
        let number = requests.count
        requests.append(request)
        refused[number] = request.refusalBySize ?? request.refusalByText
        guard refused[number] == nil else { return }
        for event in request.events {
            jobs.append(request.job)
            types.append(event.type)
            data.append(event.data)
            metadata.append(event.metadata)
            expectedVersions.append(request.expectedVersion)
            ids.append(event.id)
            moments.append(event.occurredAt.map(PostgresTimestamp.init))
            numbers.append(Int32(number))
        }
        events += request.events.count
        bytes += request.size
    }

    /// The call, `nil` where there is nothing to ask the server.
    var statement: PostgresStatement? {
        if events == 0 { return nil }
        return PostgresStatement(
            """
            SELECT position, version, duplicate, code, message
              FROM append($1, $2, $3, $4, $5, $6, $7, $8)
             ORDER BY ordinal
            """,
            [jobs, types, data, metadata, expectedVersions, ids, moments, numbers], isPrepared: true)
    }

    /// One answer a request, in order.
    /// - Parameter rows: what the server answered to ``statement``, a row an event.
    func answers(_ rows: PostgresRows?) throws(PostgresError) -> [AppendAnswer] {
        guard rows?.count ?? 0 == events else { throw .unexpected("\(rows?.count ?? 0) answers to \(events) events") }
        var answers: [AppendAnswer] = []
        answers.reserveCapacity(requests.count)
        var next = 0
        for (number, request) in requests.enumerated() {
            guard refused[number] == nil, let rows else {
                answers.append(.failure(refused[number]!))
                continue
            }
            answers.append(try Self.answer(to: request, rows, from: next))
            next += request.events.count
        }
        return answers
    }

    private static func answer(
        to request: AppendRequest, _ rows: PostgresRows, from first: Int
    ) throws(PostgresError) -> AppendAnswer {
        if let code = try rows[first].decode(3, as: String?.self) {
            guard let code = Refusal.Code(rawValue: code) else {
                throw .unexpected("the ledger refused with the unknown code \(code)")
            }
            return .failure(Refusal(code, try rows[first].decode(4)))
        }
        var appended: [Appended] = []
        appended.reserveCapacity(request.events.count)
        for (index, event) in request.events.enumerated() {
            let row = rows[first + index]
            appended.append(
                Appended(
                    position: try row.decode(0), version: try row.decode(1), eventID: event.id, isDuplicate: try row.decode(2)))
        }
        return .success(appended)
    }
}
