import Testing

extension Dashboard {
    @Suite("the overview and operations") struct OverviewTests {
        @Test("the overview says how many jobs there are, what ended last, and that all is well")
        func overview() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.open("/")
                try await tab.untilTexts(
                    of: ".tile strong", are: try await ledger.counts(), first: 4,
                    text: "one.innerText.replaceAll(',', '')")
                let failed = try await ledger.sql(
                    """
                    SELECT b.id FROM batch_jobs AS b JOIN events AS e ON e.stream_id = b.id AND e.type = 'failed'
                     ORDER BY e.position DESC LIMIT 6
                    """)
                try await tab.untilTexts(
                    of: ".failures a", are: failed, text: "decodeURIComponent(one.pathname.split('/').at(-1))")
                try await tab.untilText("All is well", in: ".wellness[data-level=good]")
                // A number leads to the jobs that it counts.
                try await tab.click(".tile[href='/jobs?status=failed']")
                try await tab.untilJobs(are: try await ledger.jobs(where: "status = 'failed'"), because: "failed jobs")
            }
        }

        @Test("operations shows the head, every reader's place, and receipts, as the command line does")
        func operations() async throws {
            try await Stage.tab { tab, ledger in
                try await ledger.run("verify", "batch_jobs")
                let status = try JSON(parsing: try await ledger.run("status", "--json"))
                let names = status["projections"]?.elements.compactMap { $0["name"]?.text } ?? []
                try await tab.open("/operations")
                let readers = ["relay"] + names + ["seal"]
                let head = try await ledger.head().grouped
                try await tab.untilTexts(
                    of: "[aria-label='Table: Readers of the log'] tbody tr",
                    are: readers.map { "\($0) running \(head)" },
                    text: "[one.querySelector('.name'), one.cells[1], one.cells[2]].map(of => of.innerText).join(' ')")
                try await tab.untilTexts(
                    of: "[aria-label='Table: Receipts'] tbody tr:first-child strong", are: ["batch_jobs"])
                try await tab.untilText("equal", in: "[aria-label='Table: Receipts'] tbody tr:first-child")
                try await tab.untilText("All is well", in: ".operations > header")
            }
        }

        @Test("a projection that has stopped is shown with the event and the error") func stopped() async throws {
            let browser = try Stage.shared.browser
            try await ServedLedger.with { served, _ in
                let ledger = served.ledger
                try await ledger.append("a", "queued", #"{"name": "a"}"#)
                try await ledger.untilProjected()
                // A projector would try again.
                await served.projector.kill()
                try await ledger.execute(
                    """
                    UPDATE projections SET state = 'stopped', failed_position = 1, error = 'division by <b>zero</b>',
                           failed_event = (SELECT event_id FROM events WHERE position = 1)
                     WHERE name = 'daily_job_stats'
                    """)
                try await ledger.tab(browser) { tab in
                    for (address, element) in [("/", ".wellness"), ("/operations", ".stopped")] {
                        try await tab.open(address)
                        try await tab.until(
                            "\(address) says so",
                            """
                            const text = document.querySelector(given[0]).innerText
                            return /daily_job_stats has stopped/.test(text) && /position #?1\\b/.test(text)
                                && text.includes("division by <b>zero</b>")
                            """, .string(element))
                    }
                }
            }
        }
    }
}
