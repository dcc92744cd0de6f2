import EventStore
import LedgerCore
import LedgerTesting
import Projections
import Testing

@testable import Terminal

/// A ledger of jobs that answers the questions of the table, and a person in front of it.
private struct Visit {
    var jobs: [TopJob]
    var model: TopModel
    var seconds = 0.0
    var head: Position = 1000
    /// How far the read model is behind.
    var lag: Position = 0
    var events: [OpenedJob.Event] = []

    init(_ count: Int, columns: Int = 80, rows: Int = 24, _ conditions: JobListQuery = JobListQuery()) {
        jobs = (0..<count).map { Self.job($0, .running, completed: 0) }
        model = TopModel(
            ledger: LedgerName("trial")!, conditions: conditions, size: ScreenSize(columns: columns, rows: rows))
        answer()
    }

    static func time(_ seconds: Double) -> Timestamp {
        Timestamp(microseconds: 1_796_000_000_000_000 + Int64(seconds * 1e6))
    }

    static func job(_ number: Int, _ status: JobListQuery.Status, total: Int64 = 1000, completed: Int64) -> TopJob {
        TopJob(
            id: JobID("job-\(number)"), name: "grid \(number)", status: status, actor: "ada", total: total,
            completed: completed, createdAt: time(-10), startedAt: time(0),
            completedAt: status == .finished || status == .failed ? time(90) : nil,
            error: status == .failed ? "it broke" : nil, lastRecordedAt: time(0))
    }

    var time: TopTime { TopTime(seconds: seconds, now: Self.time(seconds)) }

    func reply(_ question: TopQuestion) -> TopAnswer {
        var found = jobs
        if let text = question.list.text { found.removeAll { !$0.name.contains(text) } }
        if !question.list.statuses.isEmpty { found.removeAll { !question.list.statuses.contains($0.status) } }
        let part = Array(found.dropFirst(question.list.skipped).prefix(question.list.limit))
        var position = head - lag
        if case .position(let pinned)? = question.list.moment { position = pinned }
        return TopAnswer(
            question: question,
            page: TopPage(
                position: position, jobs: part, hasMore: found.count > question.list.skipped + part.count),
            counts: TopCounts(queued: 1, running: 2, finished: 30_000, failed: 4), head: head,
            opened: question.job.map { job in
                OpenedJob(
                    job: job,
                    row: jobs.first { $0.id == job }.map {
                        .init(
                            status: $0.status, total: $0.total, completed: $0.completed, completedAt: $0.completedAt,
                            error: $0.error)
                    }, events: events)
            })
    }

    mutating func answer(after pause: Double = 0.25) {
        seconds += pause
        model.take(reply(model.question), at: time)
    }

    mutating func press(_ keys: Key...) {
        for key in keys {
            model.press(key, at: time)
            answer(after: 0.01)
        }
    }

    mutating func type(_ text: String) { for scalar in text.unicodeScalars { press(.text(scalar)) } }

    var screen: [String] { model.lines(at: time).map(\.text) }
    /// The name of the job that is marked.
    var marked: String? {
        screen.first { $0.hasPrefix("> ") }.map { String($0.split(separator: " ")[3...4].joined(separator: " ")) }
    }

    mutating func report(_ version: Int32, _ type: EventType = .progress, _ data: String? = #"{"completed":1}"#) {
        events.append(
            .init(
                position: Int64(version) * 3, version: version, type: type, recordedAt: Self.time(Double(version)),
                data: data))
    }
}

@Suite("The live table") struct TopModelTests {
    // MARK: Moving

    @Test("moves a selection, and the table with it") func moves() {
        var visit = Visit(100, rows: 10)
        #expect(visit.model.room == 6)
        #expect(visit.marked == "grid 0")
        visit.press(.down, .text("j"))
        #expect(visit.marked == "grid 2")
        visit.press(.up, .text("k"), .up)
        #expect(visit.marked == "grid 0")
        visit.press(.pageDown)
        #expect(visit.marked == "grid 6")
        // The end is not known before it is loaded.
        for _ in 0..<10 { visit.press(.end) }
        #expect(visit.marked == "grid 99" && visit.screen[3].contains("grid 94"))
        visit.press(.down)
        #expect(visit.marked == "grid 99")
        visit.press(.text("g"))
        #expect(visit.marked == "grid 0")
        for _ in 0..<60 { visit.press(.down) }
        #expect(visit.marked == "grid 60" && !visit.screen.contains { $0.contains("…  ") })
    }

    @Test("asks for another page only when it comes to its end") func pages() {
        var visit = Visit(10_000, rows: 24)
        var questions: [Int] = []
        for _ in 0..<100 {
            visit.press(.down)
            let skipped = visit.model.question.list.skipped
            if questions.last != skipped { questions.append(skipped) }
            #expect(visit.model.question.list.limit == 4 * 20)
        }
        #expect(questions == [0, 20, 40, 60])
    }

    @Test("keeps the selection on its job while others come and go") func selection() {
        var visit = Visit(50)
        visit.press(.down, .down)
        #expect(visit.marked == "grid 2")
        visit.jobs.insert(contentsOf: (100..<130).map { Visit.job($0, .queued, completed: 0) }, at: 0)
        visit.answer()
        #expect(visit.marked == "grid 2")
        visit.jobs.removeAll { $0.name == "grid 2" }
        visit.answer()
        #expect(visit.marked == "grid 3")
        // On the first line it shows what is newest.
        visit.press(.home)
        visit.jobs.insert(Visit.job(200, .queued, completed: 0), at: 0)
        visit.answer()
        #expect(visit.marked == "grid 200")
        visit.jobs = []
        visit.answer()
        #expect(visit.marked == nil && visit.screen.contains { $0.contains("There are no jobs yet.") })
        visit.press(.down, .enter, .pageUp)
        #expect(visit.model.view == .list)
    }

    // MARK: What is shown

    @Test("finds a text while it is typed; Escape takes it back, and Enter keeps it") func filters() {
        var visit = Visit(50)
        visit.press(.text("/"))
        visit.type("grid 4")
        #expect(visit.model.question.list.text == "grid 4")
        #expect(visit.screen.last?.contains("/grid 4") == true)
        #expect(visit.marked == "grid 4")
        // Keys of the table are text now.
        visit.type("q")
        #expect(!visit.model.isOver && visit.screen.contains { $0.contains("No job has this") })
        visit.press(.backspace, .enter)
        #expect(visit.model.question.list.text == "grid 4" && visit.screen[2].contains("with “grid 4”"))
        visit.press(.text("/"), .control("u"))
        visit.type("x")
        visit.press(.escape)
        #expect(visit.model.question.list.text == "grid 4")
        visit.press(.escape)
        #expect(visit.model.question.list.text == nil && visit.marked == "grid 0")
        visit.press(.text("/"), .backspace, .text("q"))
        #expect(visit.model.isOver)
    }

    @Test("sorts, reverses, and shows running jobs only") func sorts() {
        var conditions = JobListQuery()
        conditions.statuses = [.failed, .queued]
        var visit = Visit(5, conditions)
        var sorts: [JobListQuery.Sort] = []
        for _ in JobListQuery.Sort.allCases {
            visit.press(.text("s"))
            sorts.append(visit.model.question.list.sort)
            #expect(visit.model.question.list.order == (sorts.last == .name ? .ascending : .descending))
        }
        #expect(sorts == [.started, .ended, .name, .took, .updated, .queued])
        visit.press(.text("S"), .text("r"))
        #expect(visit.model.question.list.sort == .updated && visit.model.question.list.order == .ascending)
        #expect(visit.model.question.list.statuses == [.failed, .queued])
        visit.press(.text("f"))
        #expect(visit.model.question.list.statuses == [.running] && visit.screen[2].contains("only running"))
        visit.press(.text("f"))
        #expect(visit.screen[2].contains("only queued or failed"))
    }

    @Test("an answer to a former question is not shown") func former() {
        var visit = Visit(50)
        let before = visit.model.question
        visit.press(.text("/"))
        visit.type("grid 49")
        visit.model.take(visit.reply(before), at: visit.time)
        #expect(visit.marked == "grid 49")
    }

    @Test("stands still while it is paused, at one position") func pauses() {
        var visit = Visit(50)
        visit.press(.text("p"))
        #expect(visit.model.question.list.moment == LogMoment.position(1000))
        visit.head = 2000
        visit.answer(after: 100)
        #expect(visit.screen[0].contains("paused at 1,000  head 2,000"))
        // Its times stand still too.
        #expect(visit.screen.contains { $0.contains("grid 1") && $0.contains("0.2s") })
        visit.press(.text("p"))
        #expect(visit.model.question.list.moment == nil && visit.screen[0].contains("live"))
        #expect(visit.screen.contains { $0.contains("grid 1") && $0.contains("1m40") })
    }

    // MARK: The ledger

    @Test("says when the read model is behind, and when the ledger is away") func links() {
        var visit = Visit(5)
        #expect(visit.screen[0].contains("live"))
        visit.lag = 20
        visit.answer()
        #expect(visit.screen[0].contains("live"), "for a moment")
        for _ in 0..<12 { visit.answer() }
        #expect(visit.screen[0].contains("behind by 20"))
        visit.lag = 5000
        visit.head = 9000
        visit.answer()
        #expect(visit.screen[0].contains("behind by 5,000"))
        visit.lag = 0
        visit.answer()
        #expect(visit.screen[0].contains("live"))
        visit.model.fail("connection refused")
        #expect(!visit.screen.joined().contains("refused"), "it is asked again at once")
        visit.seconds += 14
        #expect(visit.screen[0].contains("away 14s") && visit.screen.last?.contains("connection refused") == true)
        #expect(visit.marked == "grid 0", "the table stays")
        visit.press(.down)
        #expect(visit.screen[0].contains("live"))
    }

    @Test("calculates rate and time left, and says when a job is silent") func rates() {
        var visit = Visit(1)
        for second in 1..<10 {
            visit.jobs[0].completed = Int64(second) * 50
            visit.jobs[0].lastRecordedAt = visit.time.now
            visit.answer(after: 1)
        }
        #expect(visit.screen[3].contains("45%") && visit.screen[3].contains("50/s") && visit.screen[3].contains("11s"))
        // It slows down at once, and not when the next progress comes.
        for _ in 0..<10 { visit.answer(after: 1) }
        #expect(
            visit.screen[3].contains("24/s") || visit.screen[3].contains("25/s") || visit.screen[3].contains("23/s"))
        visit.seconds += 600
        visit.answer()
        #expect(visit.screen[3].contains("silent") && visit.screen[3].contains("!10m"))
        visit.jobs[0].status = .finished
        visit.jobs[0].completedAt = Visit.time(90)
        visit.jobs[0].completed = 1000
        visit.answer()
        #expect(
            visit.screen[3].contains("✓ finished") && visit.screen[3].contains("100%")
                && visit.screen[3].contains("1m30"))
        #expect(!visit.screen[3].contains("/s"))
    }

    @Test("tells states by words and shapes, not by colour alone") func states() {
        var visit = Visit(0, columns: 40)
        visit.jobs = JobListQuery.Status.allCases.enumerated().map { Visit.job($0, $1, completed: 1) }
        visit.answer()
        for (line, word) in zip(visit.screen[3...], ["○ queued", "▸ running", "✓ finished", "✗ failed"]) {
            #expect(line.contains(word))
        }
        #expect(visit.screen[1].contains("▸2 ○1 ✓30,000 ✗4"))
    }

    // MARK: A job

    @Test("opens a job, follows it, and goes back") func opens() {
        var visit = Visit(5, rows: 14)
        for version in 1...20 as ClosedRange<Int32> { visit.report(version) }
        visit.press(.down, .enter)
        #expect(visit.model.question.job == "job-1")
        #expect(visit.screen[1].contains("▸ running  grid 1") && visit.screen.contains { $0.contains("following") })
        #expect(visit.screen[12].contains("60"))
        visit.report(21, .failed, #"{"error":"it broke"}"#)
        visit.jobs[1] = Visit.job(1, .failed, completed: 10)
        visit.answer()
        #expect(visit.screen[1].contains("✗ failed") && visit.screen.contains { $0.contains("   it broke") })
        #expect(visit.screen[12].contains(#"failed     {"error":"it broke"}"#))
        visit.press(.text("q"))
        #expect(visit.model.question.job == nil && !visit.model.isOver && visit.marked == "grid 1")
        visit.press(.text("q"))
        #expect(visit.model.isOver)
    }

    @Test("the lines that a person reads stay, whatever comes below") func scrolls() {
        var visit = Visit(5, rows: 14)
        for version in 1...40 as ClosedRange<Int32> { visit.report(version) }
        visit.press(.enter, .up, .up)
        let line = visit.screen[12]
        visit.report(41)
        visit.answer()
        #expect(visit.screen[12] == line && visit.screen.contains { $0.contains("3 more below") })
        visit.press(.home)
        #expect(visit.screen.contains { $0.contains("           3  ") })
        visit.press(.end)
        #expect(visit.screen[12].contains("123"))
    }

    @Test("shows the beginning of a long error, and its last line") func errors() {
        var visit = Visit(1, rows: 20)
        visit.jobs[0].status = .failed
        visit.jobs[0].error = (0..<100_000).map { "line \($0)" }.joined(separator: "\n") + "\nValueError: \u{1B}[31mno"
        visit.answer()
        visit.press(.enter)
        #expect(visit.screen.contains { $0.contains("line 0") })
        #expect(visit.screen.contains { $0.contains("ValueError: \u{FFFD}[31mno") })
        #expect(visit.screen.contains { $0.contains("events") })
    }

    // MARK: Any screen

    @Test("has exactly the lines and columns of any screen, whatever is pressed and answered") func anyScreen() {
        var generator = SeededGenerator(seed: .random(in: 0 ... .max))
        let seed = generator
        let names = [
            "", "日本株モメンタム戦略", "a\u{1B}[2J\nb", String(repeating: "e\u{301}", count: 300), "🙂🇩🇪👨‍👩‍👧", "ordinary",
        ]
        let keys: [Key] =
            [.up, .down, .left, .right, .pageUp, .pageDown, .home, .end, .enter, .escape, .backspace]
            + "jkgGlsSrfp?/h x日".unicodeScalars.map { Key.text($0) } + [.control("u"), .control("w"), .control("d")]
        for _ in 0..<10 {
            var visit = Visit(
                Int.random(in: 0...200, using: &generator), columns: Int.random(in: 1...150, using: &generator),
                rows: Int.random(in: 1...50, using: &generator))
            for index in visit.jobs.indices {
                visit.jobs[index].name = names.randomElement(using: &generator)!
                visit.jobs[index].status = JobListQuery.Status.allCases.randomElement(using: &generator)!
                visit.jobs[index].total = [0, 1, 1000, .max].randomElement(using: &generator)!
                visit.jobs[index].completed = [0, 1, 999, .max].randomElement(using: &generator)!
                visit.jobs[index].error = names.randomElement(using: &generator)
            }
            for version in 1...30 as ClosedRange<Int32> {
                visit.report(version, .progress, names.randomElement(using: &generator))
            }
            for _ in 0..<30 {
                let key = keys.randomElement(using: &generator)!
                visit.model.press(key, at: visit.time)
                if Bool.random(using: &generator) { visit.answer() }
                if Int.random(in: 0..<10, using: &generator) == 0 {
                    visit.model.resize(
                        ScreenSize(
                            columns: Int.random(in: 0...200, using: &generator),
                            rows: Int.random(in: 0...60, using: &generator)))
                    visit.jobs.shuffle(using: &generator)
                    visit.seconds += Double.random(in: 0...1000, using: &generator)
                }
                let lines = visit.model.lines(at: visit.time)
                let size = visit.model.size
                #expect(lines.count == size.rows, "\(seed) \(key)")
                #expect(
                    lines.allSatisfy { $0.columns == size.columns && $0.text.columns == size.columns }, "\(seed) \(key)"
                )
                #expect(
                    lines.allSatisfy { line in !line.text.unicodeScalars.contains { $0.value < 0x20 } },
                    "\(seed) \(key)")
            }
        }
    }
}
