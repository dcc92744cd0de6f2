import Testing

extension Dashboard {
    @Suite("the table of jobs") struct JobListTests {
        /// Parameters of an address, and what they mean in SQL.
        struct Filter: Sendable, CustomTestStringConvertible {
            let address: String
            var condition = "true"
            var order = "queued_position DESC"

            var testDescription: String { address }

            /// Whether the counts of jobs by state tell how many there are.
            var isCounted: Bool {
                address.dropFirst().split(separator: "&").allSatisfy { parameter in
                    ["status=", "sort=", "order="].contains { parameter.hasPrefix($0) }
                }
            }

            static let all = [
                Filter(address: ""),
                Filter(address: "?status=failed", condition: "status = 'failed'"),
                Filter(address: "?status=queued&status=running", condition: "status IN ('queued', 'running')"),
                Filter(address: "?kind=local", condition: "kind = 'local'"),
                Filter(address: "?actor=bob", condition: "actor = 'bob'"),
                Filter(address: "?q=GRID-007", condition: "id LIKE 'grid-007%'"),
                Filter(address: "?q=stack+OVERFLOW", condition: "error ILIKE '%stack overflow%'"),
                Filter(
                    address: "?variable=ticker&kind=server",
                    condition: "kind = 'server' AND variables @> '[{\"name\": \"ticker\"}]'"),
                Filter(
                    address: "?variable=seed:2", condition: "variables @> '[{\"name\": \"seed\", \"values\": [2]}]'"),
                Filter(address: "?metadata=team:research", condition: "metadata ->> 'team' = 'research'"),
                Filter(address: "?truncated=true&status=finished", condition: "truncated AND status = 'finished'"),
                Filter(address: "?truncated=false&actor=eve", condition: "NOT truncated AND actor = 'eve'"),
                Filter(address: "?sort=name&order=asc", order: "name COLLATE \"C\", queued_position"),
                Filter(
                    address: "?sort=queued&order=asc&status=failed", condition: "status = 'failed'",
                    order: "queued_position"),
                Filter(address: "?sort=started&kind=local", condition: "kind = 'local'", order: started),
                Filter(address: "?sort=ended&status=finished", condition: "status = 'finished'", order: ended),
                Filter(address: "?q=grid-999", condition: "false"),
            ]

            private static let started = """
                (SELECT min(position) FROM events WHERE stream_id = j.id AND type = 'progress') DESC NULLS LAST,
                queued_position DESC
                """
            private static let ended = """
                (SELECT max(position) FROM events WHERE stream_id = j.id) DESC
                """
        }

        @Test("each filter and order, opened afresh, shows what SQL says") func filters() async throws {
            try await Stage.tab { tab, ledger in
                for filter in Filter.all {
                    try await tab.open("/jobs\(filter.address)")
                    try await tab.untilJobs(
                        are: try await ledger.jobs(where: filter.condition, by: filter.order), because: filter.address)
                    let count = try await ledger.count(where: filter.condition)
                    guard count > 0 else { continue }
                    // Pages of 100: beyond the first the page knows the number by the counts only.
                    let said = try await tab.run(
                        "return document.querySelector('.jobs-note [role=status]').textContent")
                    let expected = filter.isCounted || count <= 100 ? "\(count.grouped) job" : "jobs or more"
                    #expect(said.text?.contains(expected) == true, "\(filter.address): \(said), of \(count)")
                }
                // A moment of time, which is in the address as a time.
                let since = try await ledger.sql(
                    "SELECT to_json(created_at)#>>'{}' || 'Z' FROM batch_jobs WHERE id = 'grid-0801'")[0]
                try await tab.open("/jobs?since=\(since)&sort=queued&order=asc&q=grid")
                try await tab.untilJobs(
                    are: try await ledger.jobs(
                        where: "id LIKE 'grid%' AND created_at >= '\(since)'::timestamptz AT TIME ZONE 'UTC'",
                        by: "queued_position"),
                    because: "since \(since)")
            }
        }

        @Test("the controls put filters into the address, and take them out") func controls() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.open("/jobs")
                try await tab.click("[aria-controls=filters]")
                try await tab.choose("local", in: "select[name=kind]")
                try await tab.enter("bob", into: "input[name=actor]")
                try await tab.press(Key.enter)
                try await tab.give("seed:1", to: "input[name=variable]")
                try await tab.press(Key.enter)
                try await tab.untilJobs(
                    are: try await ledger.jobs(
                        where: """
                            kind = 'local' AND actor = 'bob'
                            AND variables @> '[{\"name\": \"seed\", \"values\": [1]}]'
                            """),
                    because: "three filters")
                #expect(try await tab.address() == "/jobs?kind=local&actor=bob&variable=seed:1")
                try await tab.click(text: "kind: local✕", in: ".chips")
                try await tab.untilAddress("/jobs?actor=bob&variable=seed:1")
                try await tab.back()
                try await tab.untilAddress("/jobs?kind=local&actor=bob&variable=seed:1")
                try await tab.click(text: "Clear all", in: ".chips")
                try await tab.untilJobs(are: try await ledger.jobs(), because: "no filter")
                // Sorting by a column, and back.
                try await tab.click("[data-key=name] button")
                try await tab.untilJobs(
                    are: try await ledger.jobs(by: "name COLLATE \"C\", queued_position"), because: "by name")
                #expect(try await tab.address() == "/jobs?sort=name&order=asc")
            }
        }

        @Test("scrolling shows every job once") func scrolling() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.open("/jobs?q=grid-")
                try await tab.untilShown("Jobs")
                let expected = try await ledger.sql(
                    "SELECT id FROM \(LookedAtLedger.jobs) WHERE id LIKE 'grid-%' ORDER BY queued_position DESC")
                let seen = try await tab.run(
                    """
                    const grid = document.querySelector(".grid"), seen = new Map()
                    const frame = () => new Promise(requestAnimationFrame)
                    const deadline = performance.now() + 90_000
                    const isDone = () => grid.scrollTop + grid.clientHeight >= grid.scrollHeight - 1
                    let drawn = 0
                    while (performance.now() < deadline) {
                        await frame()
                        const rows = [...grid.querySelectorAll(".grid-body > .grid-row:not([hidden])")]
                        drawn = Math.max(drawn, rows.length)
                        if (rows.some(row => row.classList.contains("is-waiting"))) continue
                        for (const row of rows) {
                            seen.set(Number(row.getAttribute("aria-rowindex")), row.querySelector(".mono").textContent)
                        }
                        // The list grows at its end: it is over where two looks find nothing more.
                        if (isDone() && seen.size >= given[0]) break
                        grid.scrollTop += 300
                    }
                    return { drawn, ids: [...seen].sort(([a], [b]) => a - b).map(([, id]) => id) }
                    """, .number(Double(expected.count)))
                #expect(seen["ids"]?.texts == expected)
                #expect(seen["drawn"]?.integer ?? 0 < 100, "only rows that can be seen are in the document")
            }
        }

        @Test("each key does what the list of keys says") func keys() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.open("/jobs")
                try await tab.untilJobs(are: try await ledger.jobs(), because: "all jobs")
                for (key, state) in [("1", "queued"), ("2", "running"), ("3", "finished"), ("4", "failed")] {
                    try await tab.press(key)
                    try await tab.untilJobs(
                        are: try await ledger.jobs(where: "status = '\(state)'"), because: "only \(state)")
                    try await tab.press(key)
                }
                try await tab.press("/")
                try await tab.type("grid-0042")
                try await tab.untilJobs(are: try await ledger.jobs(where: "id = 'grid-0042'"), because: "the search")
                try await tab.press(Key.escape, "x")
                try await tab.untilJobs(are: try await ledger.jobs(), because: "x clears")

                try await tab.press("j", "j", Key.down, "k")
                let second = try await ledger.sql(
                    "SELECT id FROM \(LookedAtLedger.jobs) ORDER BY queued_position DESC OFFSET 1 LIMIT 1")[0]
                try await tab.untilTexts(of: ".grid-row.is-active .mono", are: [second])
                try await tab.press("o")
                try await tab.untilAddress("/jobs/\(second)")
                try await tab.untilThere(".job-title")
                try await tab.press("u")
                try await tab.untilAddress("/jobs")
                for (key, path) in [
                    ("o", "/"), ("t", "/timeline"), ("c", "/compare"), ("a", "/audit"), ("p", "/operations"),
                    ("j", "/jobs"),
                ] {
                    try await tab.press("g", key)
                    try await tab.untilAddress(path)
                }
                try await tab.untilShown("Jobs")
                try await tab.press("?")
                try await tab.untilText("only failed", in: "dialog[open]")
                try await tab.press(Key.escape)
                try await tab.until("it closes", "return document.querySelector('dialog') === null")
                try await tab.press("p")
                try await tab.untilThere(".connection[data-state=paused]")
                try await tab.press("p")
                try await tab.untilThere(".connection[data-state=live]")
            }
        }
    }
}

extension Int {
    /// With commas, as the page writes it.
    var grouped: String {
        let digits = Array(String(self))
        return String(
            digits.enumerated().flatMap { index, digit in
                index > 0 && (digits.count - index) % 3 == 0 ? [",", digit] : [digit]
            })
    }
}
