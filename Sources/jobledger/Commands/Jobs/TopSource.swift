import BlockingIO
import EventStore
import LedgerCore
import Postgres
import Projections
import Terminal

/// Answers the questions of ``Top`` from the ledger, again and again.
///
/// It asks the read model several times a second, and not the feed: a table of the latest state
/// needs no event in between, and the cost does not grow with the events. What has not changed is
/// not asked again. Every answer stands alone, so nothing must be made good after the ledger was
/// away, or was restored.
struct TopSource: Sendable {
    private let store: EventStore
    private let list: JobList
    private var last: Last?
    private var events = OpenedEvents()

    init(_ store: EventStore) {
        self.store = store
        list = JobList(store)
    }

    /// The end of the log, and which log it is.
    private struct Log: Equatable {
        var head: Position
        var epoch: EventID
    }

    private struct Last: Sendable {
        var log: Log
        var answer: TopAnswer
        /// Whether the same question has the same answer as long as the log is the same: the read
        /// models have come to its end, or the moment is in the past.
        var isFinal: Bool
    }

    /// The ledger has not answered in time.
    private struct Slow: Error {}

    /// How often to ask while events arrive. If answers take long, at most a quarter of the time
    /// goes into them.
    private static let pause = Duration.milliseconds(250)
    private static let longestPause = Duration.seconds(5)
    private static let patience = Duration.seconds(10)

    /// Answers until the task is cancelled.
    func run(_ exchange: TopExchange) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await answer(exchange) }
            group.addTask {
                // Cancellation ends the sleep, and with it this task.
                while (try? await Task.sleep(for: Self.pause)) != nil { exchange.wake() }
            }
        }
    }

    private func answer(_ exchange: TopExchange) async {
        var source = self
        var asked: TopQuestion?
        var due = ContinuousClock.now
        for await _ in exchange.questions {
            let question = exchange.question
            guard question != asked || ContinuousClock.now >= due else { continue }
            asked = question
            let start = ContinuousClock.now
            do {
                let before = source
                let (answer, after) = try await withTimeLimit(Self.patience, orThrow: Slow()) {
                    var source = before
                    let answer = try await source.ask(question)
                    return (answer, source)
                }
                source = after
                exchange.answer(answer)
            } catch is Slow {
                exchange.fail("the ledger has not answered for \(Self.patience.components.seconds) s; asking again")
            } catch {
                if Task.isCancelled { return }
                exchange.fail("\(error)")
            }
            due = .now.advanced(by: min(start.duration(to: .now) * 3, Self.longestPause))
        }
    }

    /// The answer, with the state of the ledger as it is now.
    mutating func ask(_ question: TopQuestion) async throws -> TopAnswer {
        let end = try await store.logHead()
        let log = Log(head: end.position, epoch: end.epoch)
        var answer: TopAnswer
        var isFinal = true
        if let last, last.isFinal, last.log == log, last.answer.question.list == question.list {
            answer = last.answer
            answer.question = question
        } else {
            async let page = list.page(question.list)
            async let counts = list.counts(at: question.list.moment)
            let (jobs, numbers) = (try await page, try await counts)
            answer = TopAnswer(question: question, page: TopPage(jobs), counts: TopCounts(numbers), head: log.head)
            isFinal = question.list.moment != nil || jobs.position == log.head && numbers.position == log.head
        }
        answer.opened = try await opened(question, in: log)
        last = Last(log: log, answer: answer, isFinal: isFinal)
        return answer
    }

    // MARK: An open job

    /// The last events of the job that is open.
    private struct OpenedEvents: Sendable {
        var job: JobID?
        var epoch: EventID?
        /// The version of the last one.
        var version: Int32 = 0
        var events: [OpenedJob.Event] = []
    }

    private static let mostEvents = 500
    /// In one statement. Their data are cut to what may be seen.
    private static let (eventsAtOnce, largestData) = (200, 4096)
    private static let firstEvents: Int32 = 200

    private mutating func opened(_ question: TopQuestion, in log: Log) async throws -> OpenedJob? {
        guard let job = question.job else {
            events = OpenedEvents()
            return nil
        }
        if events.job != job || events.epoch != log.epoch {
            events = OpenedEvents(
                job: job, epoch: log.epoch, version: max(0, question.lastVersion - Self.firstEvents))
        }
        let isPaused = question.list.moment != nil
        if !isPaused || events.events.isEmpty { try await readEvents(of: job) }
        var shown = events.events
        if case .position(let position)? = question.list.moment { shown.removeAll { $0.position > position } }
        return OpenedJob(job: job, row: isPaused ? nil : try await row(job), events: shown)
    }

    private mutating func readEvents(of job: JobID) async throws {
        var query = EventQuery(category: .job, job: job, limit: Self.eventsAtOnce, largestData: Self.largestData)
        while true {
            query.afterVersion = events.version
            let page = try await store.page(query)
            events.events += page.map {
                OpenedJob.Event(
                    position: $0.position, version: $0.version, type: $0.type, recordedAt: $0.recordedAt, data: $0.data)
            }
            events.events.removeFirst(max(0, events.events.count - Self.mostEvents))
            events.version = page.last?.version ?? events.version
            guard page.count == Self.eventsAtOnce else { return }
        }
    }

    private func row(_ job: JobID) async throws -> OpenedJob.Row? {
        try await store.pool.withConnection { connection in
            guard let row = try await connection.query(Self.rowStatement, job).first else { return nil }
            guard let status = JobListQuery.Status(rawValue: try row.decode(0)) else { return nil }
            return OpenedJob.Row(
                status: status, total: try row.decode(1), completed: try row.decode(2),
                completedAt: try row.decode(3, as: PostgresTimestamp?.self).map(Timestamp.init),
                error: try row.decode(4), isTruncated: try row.decode(5))
        }
    }

    private static let rowStatement = """
        SELECT status, total::bigint, completed::bigint, completed_at AT TIME ZONE 'UTC', error, truncated
          FROM batch_jobs WHERE id = $1
        """
}
