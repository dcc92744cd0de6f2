import Testing

extension Dashboard {
    @Suite("time travel") struct TimeTravelTests {
        @Test("the table and the counts of a past moment are those of that moment") func table() async throws {
            try await Stage.tab { tab, ledger in
                let head = try await ledger.head()
                for position in [1, 64, head / 3, head / 2, head - 1] {
                    try await tab.open("/jobs?at=\(position)")
                    try await tab.untilJobs(are: try await ledger.jobs(at: position), because: "at \(position)")
                    try await tab.untilText("position \(position.grouped)", in: ".past:not([hidden])")
                    try await tab.untilCounts(are: try await ledger.counts(at: position))
                }
                // With a filter, and by a time.
                let time = try await ledger.sql(
                    "SELECT to_json(recorded_at)#>>'{}' FROM events WHERE position = \(head / 2)")[0]
                let position = try await ledger.number(
                    "SELECT max(position) FROM events WHERE recorded_at <= '\(time)'")
                try await tab.open("/jobs?status=running&at=\(time.replacing("+", with: "%2B"))")
                try await tab.untilJobs(
                    are: try await ledger.jobs(at: position, where: "status = 'running'"), because: "running at \(time)"
                )
            }
        }

        @Test("a job's page of the past shows what the service says of that moment") func job() async throws {
            try await Stage.tab { tab, ledger in
                let positions = try await ledger.positions(where: "stream_id = '\(UpLedger.demo)'").compactMap {
                    Int($0)
                }
                let (first, last) = (positions[0], positions[positions.count - 1])
                for position in [first, (first + last) / 2, last - 1, last] {
                    try await tab.open("/jobs/\(UpLedger.demo)?at=\(position)")
                    try await tab.until(
                        "the row at \(position)",
                        """
                        const { status, completed, total, truncated } =
                            await (await fetch(`/v1/jobs/\(UpLedger.demo)?at=${given[0]}`)).json()
                        const shown = name => document.querySelector(`.row-values [data-column=${name}] dd`).innerText
                        const number = value => value.toLocaleString("en-US")
                        return shown("status") === status && shown("truncated") === String(truncated)
                            && shown("completed") === number(completed) && shown("total") === number(total)
                            && document.querySelector(".job-title .badge").innerText === status
                        """, .number(Double(position)))
                    let until = positions.filter { $0 <= position }.reversed().prefix(25).map(String.init)
                    try await tab.untilTexts(of: ".events .event-row", are: until, text: "one.dataset.position")
                }
                // The runs that had been reported by then.
                let middle = (first + last) / 2
                let runs = try await ledger.number(
                    """
                    SELECT count(DISTINCT run ->> 'run_index') FROM events, json_array_elements(data -> 'runs') AS run
                     WHERE stream_id = '\(UpLedger.demo)' AND type = 'progress' AND position <= \(middle)
                    """)
                try await tab.open("/jobs/\(UpLedger.demo)?at=\(middle)")
                try await tab.untilText("\(runs.grouped) runs", in: ".runs > header")
            }
        }

        @Test("keys step from event to event, and the bar reaches what it is dragged to") func bar() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.open("/jobs")
                try await tab.untilShown("Jobs")
                let head = try await ledger.head()
                try await tab.untilText(head.grouped, in: ".time-bar")
                try await tab.press("[")
                try await tab.untilAddress("/jobs?at=\(head - 1)")
                try await tab.press("[", "[", "]")
                try await tab.untilAddress("/jobs?at=\(head - 2)")
                try await tab.untilJobs(are: try await ledger.jobs(at: head - 2), because: "two events ago")
                try await tab.press("L")
                try await tab.untilAddress("/jobs")
                try await tab.untilThere(".past[hidden]")
                try await tab.press("@")
                try await tab.type("120")
                try await tab.press(Key.enter)
                try await tab.untilJobs(are: try await ledger.jobs(at: 120), because: "position 120")

                // By position, half of the bar is half of the log.
                try await tab.click("[data-by=Position]")
                let track = try await tab.box(".time-bar .track")
                let middle = track.top + track.height / 2
                try await tab.drag(from: (track.left + 4, middle), to: (track.left + track.width / 2, middle))
                let reached =
                    try await tab.until(
                        "it settles",
                        """
                        const at = Number(new URLSearchParams(location.search).get("at"))
                        return at !== 120 && !document.querySelector(".is-dragging") && at
                        """
                    ).integer ?? 0
                #expect(abs(reached - head / 2) < head / 20, "\(reached) of \(head)")
                try await tab.untilJobs(are: try await ledger.jobs(at: reached), because: "where it was dragged to")
                // Every view keeps the moment.
                try await tab.press("g", "t")
                try await tab.untilAddress("/timeline?at=\(reached)")
                try await tab.back()
                try await tab.back()
                try await tab.untilAddress("/jobs?at=120")
            }
        }

        @Test("two moments differ by what the events between them did") func compare() async throws {
            try await Stage.tab { tab, ledger in
                try await ledger.append("compared", "queued", #"{"name": "Compared", "total": 8}"#)
                let from = try await ledger.head()
                try await ledger.append("compared", "progress", #"{"completed": 3}"#, actor: "bob")
                try await ledger.append("compared", "failed", #"{"error": "disk full"}"#, actor: "eve")
                let to = try await ledger.head()
                try await ledger.append("untouched", "queued", #"{"name": "Untouched"}"#)
                try await tab.open("/compare?from=\(from)&to=\(to)")
                try await tab.untilText("1 job differs", in: ".compare header")
                let changes = try await tab.run(
                    """
                    const answer = await (await fetch(`/v1/diff?from=${given[0]}&to=${given[1]}`)).json()
                    return answer.jobs.flatMap(job => job.changes)
                        .map(one => `${one.column} #${one.event.position.toLocaleString("en-US")}`)
                    """, .number(Double(from)), .number(Double(to)))
                try await tab.untilTexts(
                    of: ".diff tbody tr", are: changes.texts,
                    text: "one.cells[0].innerText + ' ' + one.cells[3].querySelector('a').innerText")
                #expect(changes.texts.contains("status #\(to.grouped)"), "\(changes)")
                #expect(changes.texts.contains("completed #\((to - 1).grouped)"), "\(changes)")
                try await tab.until(
                    "before and after", is: ["queued", "failed"],
                    """
                    const rows = [...document.querySelectorAll(".diff tbody tr")]
                    const { cells } = rows.find(one => one.cells[0].innerText === "status")
                    return [cells[1].innerText, cells[2].innerText]
                    """)
                try await tab.click("button[title='Exchange the two moments']")
                try await tab.untilText("before the first", in: ".warning")
                try await tab.untilThere(".diff")
            }
        }
    }
}

extension LookedAtLedger {
    /// Each job at a position by its last event that says a state; the log alone.
    private func then(_ position: Int) -> String {
        """
        (SELECT stream_id AS id, min(e.position) AS queued_position,
                CASE WHEN bool_or(type = 'finished') THEN 'finished' WHEN bool_or(type = 'failed') THEN 'failed'
                     WHEN bool_or(type = 'progress') THEN 'running' ELSE 'queued' END AS status
           FROM events AS e WHERE category = 'job' AND e.position <= \(position) GROUP BY stream_id) AS j
        """
    }

    fileprivate func jobs(at position: Int, where condition: String = "true") async throws -> [String] {
        try await sql(
            """
            SELECT status || ' ' || id FROM \(then(position)) WHERE \(condition)
             ORDER BY queued_position DESC LIMIT 15
            """)
    }

    fileprivate func counts(at position: Int) async throws -> [String] {
        try await sql(
            """
            SELECT count(j.id) FROM \(Self.states)
              LEFT JOIN \(then(position)) ON j.status = s.state GROUP BY s.number ORDER BY s.number
            """)
    }
}
