import EventStore
import Foundation
import LedgerCore
import LedgerTesting

/// A job's row of `batch_jobs`: a second implementation, in Swift, of what
/// projections/batch_jobs/README.md says.
struct ExpectedJob: Equatable {
    var status = "queued"
    var total: Int
    var completed = 0
    var createdAt: Int
    var updatedAt: Int
    var completedAt: Int?
    var error: String?
    var truncated = false

    /// The values, in the order of ``columns``.
    var values: [String?] {
        [
            status, "\(total)", "\(completed)", "\(createdAt)", "\(updatedAt)", completedAt.map(String.init), error,
            truncated ? "t" : "f",
        ]
    }
    static let columns = [
        "status", "total", "completed", "created_at", "updated_at", "completed_at", "error", "truncated",
    ]
    /// The same values in SQL, as an array of texts. Times are seconds since 1970.
    static let sql = """
        ARRAY[status, total::text, completed::text, extract(epoch FROM created_at)::bigint::text,
              extract(epoch FROM updated_at)::bigint::text, extract(epoch FROM completed_at)::bigint::text,
              error, left(truncated::text, 1)]
        """
}

/// Random jobs with interleaved histories, and the expected row of each after each of its events.
struct RandomJobs {
    /// For each job the positions of its events, with the row after each.
    private(set) var histories: [JobID: [(position: Position, row: ExpectedJob)]] = [:]
    private(set) var head: Position = 0

    private struct Draft {
        var row: ExpectedJob
        /// The total of the last event that gave one. The row's total is at least what was
        /// completed.
        var total: Int
        var isOver = false
    }

    /// - Parameter mostEvents: the most events of a job after its first.
    static func append(_ jobs: Int, mostEvents: Int, to ledger: TestLedger, seed: UInt64) async throws -> RandomJobs {
        var random = SeededGenerator(seed: seed)
        func below(_ limit: Int) -> Int { Int(random.below(UInt64(limit))) }
        var requests: [(AppendRequest, ExpectedJob)] = []
        var open = (0..<jobs).map { (name: "job \($0)", left: below(mostEvents + 1), draft: Draft?.none) }
        while !open.isEmpty {
            let index = below(open.count)
            let second = 1_700_000_000 + below(5000)
            let event: (type: String, data: String)
            if var draft = open[index].draft {
                event = next(&draft, at: second, isLast: open[index].left == 0, below)
                open[index].draft = draft
            } else {
                let total = below(3) == 0 ? 0 : 5 + below(50)
                event = ("queued", #"{"name":"n","total":\#(total)}"#)
                open[index].draft = Draft(
                    row: ExpectedJob(total: total, createdAt: second, updatedAt: second), total: total)
            }
            let occurredAt = Timestamp(microseconds: Int64(second) * 1_000_000)
            requests.append(
                (
                    AppendRequest(
                        job: open[index].name,
                        events: [NewEvent(type: event.type, data: event.data, occurredAt: occurredAt)]),
                    open[index].draft!.row
                ))
            open[index].left -= 1
            if open[index].left < 0 || open[index].draft!.isOver {
                open.swapAt(index, open.count - 1)
                open.removeLast()
            }
        }
        var made = RandomJobs()
        let answers = try await ledger.store.append(requests.map(\.0), timeout: .seconds(120))
        for ((request, row), answer) in zip(requests, answers) {
            let position = try answer.get()[0].position
            made.histories[request.job, default: []].append((position, row))
            made.head = max(made.head, position)
        }
        return made
    }

    private static func next(
        _ draft: inout Draft, at second: Int, isLast: Bool, _ below: (Int) -> Int
    ) -> (type: String, data: String) {
        draft.row.updatedAt = max(draft.row.updatedAt, second)
        defer { draft.row.total = draft.total > 0 ? max(draft.total, draft.row.completed) : 0 }
        switch below(isLast ? 10 : 30) {
        case 0, 1:
            draft.row.truncated = true
            return ("truncated", #"{"reason":"r"}"#)
        case 2:
            (draft.row.status, draft.row.error, draft.row.completedAt, draft.isOver) = ("failed", "e", second, true)
            return ("failed", #"{"error":"e"}"#)
        case 3, 4:
            (draft.row.status, draft.row.completedAt, draft.isOver) = ("finished", second, true)
            if !draft.row.truncated, draft.total > 0 { draft.row.completed = max(draft.total, draft.row.completed) }
            return ("finished", "{}")
        case 5:
            draft.total = 1 + below(60)
            let completed = below(draft.total + 1)
            draft.row.status = "running"
            draft.row.completed = max(draft.row.completed, completed)
            return ("progress", #"{"completed":\#(completed),"total":\#(draft.total)}"#)
        default:
            let completed = below((draft.total > 0 ? draft.total : 90) + 1)
            draft.row.status = "running"
            draft.row.completed = max(draft.row.completed, completed)
            return ("progress", #"{"completed":\#(completed)}"#)
        }
    }

    /// The job's row when the log ended at a position; `nil` if there was no such job.
    func row(_ job: JobID, at position: Position) -> ExpectedJob? {
        histories[job]?.last { $0.position <= position }?.row
    }
}
