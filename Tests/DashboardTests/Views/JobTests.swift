import Testing

extension Dashboard {
    @Suite("one job") struct JobTests {
        private static let path = "/jobs/\(UpLedger.demo)"

        @Test("the demo's 3,000 runs are those of the table: sorted, as a heat map, and as CSV")
        func runs() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.open("\(Self.path)?runs=table&sort=metrics:sharpe&order=desc")
                try await tab.untilText("3,000 runs", in: ".runs > header")
                let best = try await ledger.sql(
                    """
                    SELECT run_index FROM batch_job_runs WHERE batch_job_id = '\(UpLedger.demo)'
                     ORDER BY (metrics ->> 'sharpe')::float8 DESC, run_index LIMIT 8
                    """)
                try await tab.untilTexts(
                    of: ".runs tbody tr[data-index]", are: best, first: 8, text: "one.cells[0].innerText")
                #expect(try await tab.count(".runs table[aria-rowcount='3001']") == 1)

                try await tab.press("m")
                try await tab.until("the heat map", "return document.querySelector('.heat canvas').width > 0")
                try await tab.choose("sharpe", in: ".runs-tools select[name=metric]")
                try await tab.choose("fast", in: ".runs-tools select[name=x]")
                try await tab.choose("slow", in: ".runs-tools select[name=y]")
                try await tab.click(text: "As a table", in: ".runs")
                // The best of both tickers, for each pair of windows.
                let corner = try await ledger.sql(
                    """
                    SELECT DISTINCT round(max((metrics ->> 'sharpe')::numeric) OVER (
                             PARTITION BY variables ->> 'fast', variables ->> 'slow'), 1),
                           (variables ->> 'slow')::int, (variables ->> 'fast')::int
                      FROM batch_job_runs WHERE batch_job_id = '\(UpLedger.demo)'
                     ORDER BY 2, 3 LIMIT 5
                    """.firstColumn)
                try await tab.until(
                    "the cells of the smallest slow window", is: JSON(corner),
                    """
                    const rows = [...document.querySelector(".chart-rows table").tBodies[0].rows]
                    const [row] = rows.sort((a, b) => a.cells[0].innerText - b.cells[0].innerText)
                    return [...row.cells].slice(1).map(cell => cell.innerText).filter(text => text !== "–").slice(0, 5)
                        .map(text => Number(text).toFixed(1))
                    """)
                // By keyboard: a cell says its value, and Enter shows its run in the table.
                try await tab.focus(".heat")
                try await tab.press(Key.right, Key.up)
                try await tab.untilText("sharpe", in: ".heat-figure .chart-readout")

                let lines = try await Self.csv(tab).split(separator: "\r\n").map(String.init)
                #expect(lines.count == 3001)
                #expect(lines[0].hasPrefix("run_index,"))
                let first = try await ledger.sql(
                    """
                    SELECT metrics ->> 'sharpe' FROM batch_job_runs
                     WHERE batch_job_id = '\(UpLedger.demo)' AND run_index = 0
                    """)[0]
                #expect(lines[1].hasPrefix("0,") && lines[1].contains(first), "\(lines[1])")
                // The job itself names its page and its file.
                let named = try await ledger.sql(
                    "SELECT view_url || ' ' || csv_url FROM batch_jobs WHERE id = '\(UpLedger.demo)'")
                #expect(
                    named == [
                        "\(ledger.url)/jobs/\(UpLedger.demo) \(ledger.url)/v1/jobs/\(UpLedger.demo)/runs?format=csv"
                    ])
            }
        }

        private static func csv(_ tab: Tab) async throws -> String {
            try await tab.run("return (await fetch(document.querySelector('.runs a[download]').href)).text()").text
                ?? ""
        }

        @Test("its life, values and events are what the log has, to the last digit") func life() async throws {
            try await Stage.tab { tab, ledger in
                let large = "123456789012345678901234567890.10"
                try await ledger.append(
                    "exact", "queued", #"{"name": "Exact numbers", "total": 90, "seed": 9007199254740993}"#)
                try await ledger.append("exact", "progress", #"{"completed": 45, "large": \#(large)}"#)
                try await ledger.append("exact", "failed", #"{"error": "out of memory"}"#, actor: "eve")
                let positions = try await ledger.positions(where: "stream_id = 'exact'")
                try await ledger.untilProjected()
                try await tab.open("/jobs/exact")
                try await tab.untilTexts(of: ".job-title .badge", are: ["failed"], first: 1)
                try await tab.untilTexts(
                    of: ".life .state.reached", are: ["queued", "running", "failed"], text: "one.dataset.state")
                try await tab.untilTexts(
                    of: ".events .event-row", are: positions.reversed(), text: "one.dataset.position")
                // The event's data, byte for byte.
                for (position, digits) in [(positions[0], "9007199254740993"), (positions[1], large)] {
                    try await tab.click(".event-row[data-position='\(position)'] .disclose")
                    try await tab.untilText(digits, in: ".event-content pre")
                }
                #expect(try await tab.address().hasSuffix("event=\(positions[1])"), "what is open is in the address")
                // Who set a value: blame, when the pointer or the focus rests on it.
                try await tab.focus(".row-values [data-column=status] button")
                let place = (Int(positions[2]) ?? 0).grouped
                try await tab.untilText("failed at position \(place)", in: "#blame-tip:not([hidden])")
                try await tab.untilText("by eve", in: "#blame-tip:not([hidden])")
            }
        }

        @Test("causes and consequences lead from event to event") func causes() async throws {
            try await Stage.tab { tab, ledger in
                try await ledger.append("cause", "queued", #"{"name": "Cause"}"#)
                try await ledger.execute(
                    """
                    SELECT append_event('effect', 'queued', '{"name": "Effect"}', json_build_object(
                      'actor', 'bob', 'correlation_id', 'night-7',
                      'causation_id', (SELECT event_id FROM events WHERE stream_id = 'cause')))
                    """)
                let position = try await ledger.positions(where: "stream_id = 'effect'")[0]
                try await ledger.untilProjected()
                try await tab.open("/jobs/effect?event=\(position)")
                try await tab.untilText("cause", in: ".why .chain")
                try await tab.click(".why .chain a")
                // The audit shows the cause, and what followed from it.
                try await tab.untilText("effect", in: ".audit .why")
            }
        }

        @Test("a job that is not there yet appears when it is queued, and follows its events")
        func appears() async throws {
            try await Stage.tab(expecting: ["404"]) { tab, ledger in
                try await tab.open("/jobs/later")
                try await tab.untilText("There is no such job")
                try await ledger.append("later", "queued", #"{"name": "Later", "total": 10}"#)
                try await tab.untilTexts(of: ".job-title .badge", are: ["queued"], first: 1)
                try await ledger.append("later", "progress", #"{"completed": 4}"#)
                try await tab.untilText("4 of 10", in: ".job-line")
                try await ledger.append("later", "finished")
                try await tab.untilTexts(of: ".job-title .badge", are: ["finished"], first: 1)
            }
        }
    }
}

extension String {
    /// A query with the first of its columns alone.
    fileprivate var firstColumn: String {
        "SELECT first FROM (\(self)) AS of(first, second, third) ORDER BY second, third"
    }
}
