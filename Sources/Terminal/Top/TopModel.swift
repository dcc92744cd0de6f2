import EventStore
package import LedgerCore
package import Projections

/// The live table of jobs, as a plain value without terminal, ledger or clock: keys, answers and
/// the passing of time change it, ``question`` says what it wants to know, and ``lines(at:)`` draws
/// it.
package struct TopModel: Sendable {
    enum View: Sendable, Equatable {
        case list
        case job
        /// The keys, shown over the table or over a job.
        case keys(over: Bool)
    }

    let ledger: LedgerName
    var view = View.list
    package internal(set) var size: ScreenSize
    /// Whether the person has left.
    package internal(set) var isOver = false

    // What to show.

    /// The conditions of the command line, and the order that keys change.
    var conditions: JobListQuery
    /// The states of the command line, which `f` replaces by `running`.
    let statuses: Set<JobListQuery.Status>
    var isRunningOnly = false
    /// The text that is being typed after `/`, and the one before it.
    var typed: (text: String, before: String?)?
    /// The position at which the table stands still.
    var pausedAt: (position: Position, time: TopTime)?

    // Where the person is in the table.

    /// The number of jobs above the first line.
    var above = 0
    /// The number of jobs above the selected one.
    var selected = 0
    var selectedID: JobID?
    var opened: Opened?

    // What is known.

    /// The last answer to the present conditions, and how many jobs come before its page.
    var rows: [TopJob] = []
    var skipped = 0
    var hasMore = false
    var counts: TopCounts?
    /// The position that the answer shows, and the last one of the log.
    var position: Position = 0
    var head: Position = 0
    var isLoaded = false
    /// Since when `rows` are those of other conditions: the answer to the present ones is on its
    /// way.
    var staleSince: Double?
    var meters: [JobID: RateMeter] = [:]
    var answeredAt: Double?
    var behindSince: Double?
    var problem: String?

    struct Opened: Sendable {
        /// As the list had it last.
        var row: TopJob
        var answer: OpenedJob?
        /// How many events are below the last line; 0 follows the job.
        var below = 0
    }

    /// - Parameter conditions: those of the command line, with the order.
    package init(ledger: LedgerName, conditions: JobListQuery, size: ScreenSize) {
        self.ledger = ledger
        self.conditions = conditions
        statuses = conditions.statuses
        self.size = size
    }

    // MARK: The question

    /// How many jobs the table has room for: besides them there are a title, counts, headings, and
    /// the last line.
    var room: Int { max(1, size.rows - 4 - (conditionsText.isEmpty ? 0 : 1)) }

    /// What is to be asked now. It has the lines on the screen, and at least as many below. It
    /// changes only with each page, so that moving by a line asks nothing.
    package var question: TopQuestion {
        var list = conditions
        list.statuses = isRunningOnly ? [.running] : statuses
        list.skipped = min(max(0, (above / room - 1) * room), JobListQuery.mostSkipped)
        list.limit = 4 * room
        list.moment = pausedAt.map { .position($0.position) }
        return TopQuestion(list: list, job: opened?.row.id, lastVersion: opened?.row.lastVersion ?? 0)
    }

    /// Whether two questions are about the same jobs in the same order, on whatever page.
    private static func isSameList(_ one: JobListQuery, _ other: JobListQuery) -> Bool {
        var other = other
        (other.skipped, other.limit) = (one.skipped, one.limit)
        return one == other
    }

    // MARK: Answers

    package mutating func take(_ answer: TopAnswer, at time: TopTime) {
        answeredAt = time.seconds
        problem = nil
        head = answer.head
        let asked = answer.question.list
        if Self.isSameList(question.list, asked) { take(answer.page, skipped: asked.skipped, at: time) }
        if answer.question.list.moment == question.list.moment {
            counts = answer.counts
            position = answer.page.position
            behindSince = head > position ? behindSince ?? time.seconds : nil
        }
        if let job = answer.opened, opened?.row.id == job.job, asked.moment == question.list.moment {
            take(job, at: time)
        }
    }

    private mutating func take(_ page: TopPage, skipped: Int, at time: TopTime) {
        (rows, self.skipped, hasMore, isLoaded, staleSince) = (page.jobs, skipped, page.hasMore, true, nil)
        if pausedAt == nil {
            var known = rows
            if let opened { known.append(opened.row) }
            meters = known.reduce(into: [:]) { meters, row in
                guard row.status == .running else { return }
                var meter = self.meters[row.id] ?? RateMeter()
                if row.id != opened?.row.id { meter.add(row.completed, at: time.seconds) }
                meters[row.id] = meter
            }
        }
        if let id = opened?.row.id, let row = rows.first(where: { $0.id == id }) { opened?.row = row }
        // The selection stays on its job, unless it is on the first line: that one shows what is
        // first.
        if selected > 0, let selectedID, let index = rows.firstIndex(where: { $0.id == selectedID }) {
            let moved = skipped + index - selected
            selected += moved
            // The screen moves along, so that the selection does not jump.
            above = max(0, above + moved)
        }
        keepInside()
    }

    private mutating func take(_ job: OpenedJob, at time: TopTime) {
        guard var opened else { return }
        if opened.below > 0, let last = opened.answer?.events.last {
            // The lines that the person reads stay where they are.
            opened.below += job.events.count { $0.position > last.position }
        }
        opened.answer = job
        self.opened = opened
        guard let row = job.row, row.status == .running, pausedAt == nil else { return }
        meters[job.job, default: RateMeter()].add(row.completed, at: time.seconds)
    }

    /// The ledger could not be asked.
    package mutating func fail(_ message: String) { problem = message }

    package mutating func resize(_ size: ScreenSize) {
        self.size = size
        keepInside()
    }

    // MARK: Moving

    /// How many jobs the list has; `nil` while that is not known.
    var listCount: Int? { isLoaded && !hasMore ? skipped + rows.count : nil }

    /// The job that stands at a place of the list; `nil` if it is not loaded.
    func row(_ index: Int) -> TopJob? {
        rows.indices.contains(index - skipped) ? rows[index - skipped] : nil
    }

    /// Keeps the selection within the list, and on the screen.
    mutating func keepInside() {
        let last = listCount.map { $0 - 1 } ?? min(JobListQuery.mostSkipped, max(skipped + rows.count - 1, above))
        selected = max(0, min(selected, last))
        above = min(max(above, selected - room + 1), selected)
        // No empty lines below the last job.
        if let count = listCount { above = max(0, min(above, count - room)) }
        selectedID = row(selected)?.id ?? selectedID
    }

    mutating func select(_ index: Int) {
        selected = max(0, index)
        selectedID = nil
        keepInside()
    }

    /// Shows the list from its beginning, after its conditions have changed. What is shown stays
    /// until the answer comes, which is soon: an empty screen in between would flicker.
    mutating func restart(_ time: TopTime) {
        (above, selected, selectedID) = (0, 0, nil)
        staleSince = staleSince ?? time.seconds
    }

    /// Whether nothing is known of the jobs that are to be shown.
    func isBlank(at time: TopTime) -> Bool { !isLoaded || staleSince.map { time.seconds - $0 > 0.5 } ?? false }

    // MARK: The state of the connection

    enum Link: Equatable {
        case live
        case behind(Position)
        case away(Double)
        case paused(Position)
        case connecting
    }

    /// Answers come several times a second. Without one for this long, the ledger is away.
    private static let patience = 3.0

    func link(at time: TopTime) -> Link {
        guard let answeredAt else { return .connecting }
        if time.seconds - answeredAt > Self.patience { return .away(time.seconds - answeredAt) }
        if let pausedAt { return .paused(pausedAt.position) }
        // A projection is always some milliseconds behind; what stays behind is worth a word.
        if let behindSince, time.seconds - behindSince > 2 || head - position > 1000 { return .behind(head - position) }
        return .live
    }
}
