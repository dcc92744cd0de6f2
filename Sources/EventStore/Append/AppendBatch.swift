import LedgerCore
import Postgres

/// The requests of one call of the append function, encoded as they are added.
struct AppendBatch: Sendable {
    /// The limits of one call: enough events to share a commit, and few enough that others do not
    /// wait long for it.
    static let mostEvents = AppendLimits.eventsInRequest
    static let mostBytes = 16 << 20

    private(set) var requests: [AppendRequest] = []
    private(set) var events = 0
    private var bytes = 0
    /// By request number. These requests would fail the whole call, so they are answered here.
    private var refused: [Int: Refusal] = [:]

    private var jobs = PostgresArray<JobID>()
    private var types = PostgresArray<String>()
    private var data = PostgresArray<String>()
    private var metadata = PostgresArray<String>()
    private var expectedVersions = PostgresArray<Int32?>()
    private var ids = PostgresArray<EventID>()
    private var moments = PostgresArray<PostgresTimestamp?>()
    private var numbers = PostgresArray<Int32?>()

    /// Columns in which every event has the default are not sent.
    private var hasMetadata = false
    private var hasExpectedVersions = false
    private var hasMoments = false
    private var hasSeveralInARequest = false
    /// Whether there are events of another category than that of jobs.
    private var hasCategories = false
    /// Whether there are jobs only, and none occurs twice, in two requests or with two events. Such
    /// a batch takes a faster path.
    private var isOneEach = true
    private var seen: Set<JobID> = []

    init() {}

    /// The batch's place among the batches of one appender, which are sent concurrently but written
    /// in order.
    private var turn: (number: Int64, appender: String)?

    func inTurn(_ number: Int64, of appender: String) -> AppendBatch {
        var batch = self
        batch.turn = (number, appender)
        return batch
    }

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
            if event.metadata != "{}" { hasMetadata = true }
            if event.occurredAt != nil { hasMoments = true }
        }
        if request.expectedVersion != nil { hasExpectedVersions = true }
        if request.events.count > 1 { hasSeveralInARequest = true }
        if request.category != .job { (hasCategories, isOneEach) = (true, false) }
        if isOneEach { isOneEach = request.events.count == 1 && seen.insert(request.job).inserted }
        events += request.events.count
        bytes += request.size
    }

    /// Whether there is anything to ask the server.
    var asksServer: Bool { events > 0 || turn != nil }

    /// The call, or `nil` if there is nothing to ask the server. The server answers with one row if
    /// everything was written in order, and with one row per event otherwise.
    func statement(_ versionHints: VersionHints) -> PostgresStatement? {
        guard asksServer else { return nil }
        // `append_batch` has its own path for a single event.
        let takesFastWay = isOneEach && (events > 1 || events == 1 && turn != nil)
        let versions =
            takesFastWay
            ? versionHints.look(up: requests.indices.lazy.filter { refused[$0] == nil }.map { requests[$0].job }) : nil
        var arguments: [any PostgresEncodable] = [
            jobs, types, data, hasMetadata ? metadata : nil, hasExpectedVersions ? expectedVersions : nil, ids,
            hasMoments ? moments : nil, takesFastWay ? versions : hasSeveralInARequest ? numbers : nil, turn?.appender,
            turn?.number,
        ]
        if hasCategories { arguments.append(categories) }
        return PostgresStatement(
            takesFastWay ? Self.callOfDistinctJobs : hasCategories ? Self.callWithCategories : Self.call, arguments,
            isPrepared: true, endsByClosing: true)
    }

    /// The category of each event; null for that of jobs.
    private var categories: PostgresArray<String?> {
        var categories = PostgresArray<String?>()
        for (number, request) in requests.enumerated() where refused[number] == nil {
            let category = request.category == .job ? nil : request.category.text
            for _ in request.events { categories.append(category) }
        }
        return categories
    }

    private static let call = statement(calling: "append_batch")
    private static let callWithCategories = statement(calling: "append_batch", ", $11")
    private static let callOfDistinctJobs = statement(calling: "append_to_distinct_jobs")

    /// The last column says whether the commit waits for standbys. It is read after the call, which
    /// may have changed the settings: a ledger that demands quorum raises them.
    private static func statement(calling function: String, _ more: String = "") -> String {
        """
        SELECT batch.first_position, batch.versions, event.position, event.version, event.duplicate,
               event.code, event.message,
               current_setting('synchronous_standby_names') <> ''
               AND current_setting('synchronous_commit') IN ('on', 'remote_apply')
          FROM \(function)($1, $2, $3, $4, $5, $6, $7, $8, $9, $10\(more)) AS batch
          LEFT JOIN LATERAL unnest(batch.answers) AS event ON true
        """
    }

    /// One answer a request, in order.
    /// - Parameter rows: what the server answered to ``statement``.
    func answers(_ rows: PostgresRows?) throws(PostgresError) -> [AppendAnswer] {
        let written = try rows.flatMap { rows throws(PostgresError) in try Written(rows) }
        let count = written?.versions.count ?? rows?.count ?? 0
        guard count == events || events == 0 else { throw .unexpected("\(count) answers to \(events) events") }
        var answers: [AppendAnswer] = []
        answers.reserveCapacity(requests.count)
        var next = 0
        for (number, request) in requests.enumerated() {
            if let refusal = refused[number] {
                answers.append(.failure(refusal))
                continue
            }
            if let written {
                answers.append(.success(written.answer(to: request, from: next)))
            } else if let rows {
                answers.append(try Self.answer(to: request, rows, from: next))
            }
            next += request.events.count
        }
        return answers
    }

    /// The answer to a batch that was written in order: its events follow each other in the log.
    private struct Written {
        let first: Position
        let versions: [Int32]
        let durability: Durability

        init?(_ rows: PostgresRows) throws(PostgresError) {
            guard let row = rows.first, let first = try row.decode(0, as: Position?.self) else { return nil }
            self.first = first
            versions = try row.decode(1)
            durability = try AppendBatch.durability(of: row)
        }

        func answer(to request: AppendRequest, from next: Int) -> [Appended] {
            request.events.enumerated().map { index, event in
                Appended(
                    position: first + Position(next + index), version: versions[next + index], eventID: event.id,
                    isDuplicate: false, durability: durability)
            }
        }
    }

    private static func durability(of row: PostgresRow) throws(PostgresError) -> Durability {
        try row.decode(7, as: Bool.self) ? .quorum : .local
    }

    private static func answer(
        to request: AppendRequest, _ rows: PostgresRows, from first: Int
    ) throws(PostgresError) -> AppendAnswer {
        if let code = try rows[first].decode(5, as: String?.self) {
            guard let code = Refusal.Code(rawValue: code) else {
                throw .unexpected("the ledger refused with the unknown code \(code)")
            }
            return .failure(Refusal(code, try rows[first].decode(6)))
        }
        var appended: [Appended] = []
        appended.reserveCapacity(request.events.count)
        for (index, event) in request.events.enumerated() {
            let row = rows[first + index]
            appended.append(
                Appended(
                    position: try row.decode(2), version: try row.decode(3), eventID: event.id,
                    isDuplicate: try row.decode(4), durability: try durability(of: row)))
        }
        return .success(appended)
    }
}
