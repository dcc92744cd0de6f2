import Testing

extension Dashboard {
    @Suite("live") struct LiveTests {
        /// Notes what the page's own feed gives to its views.
        private static let noting = """
            const { live } = await import("/dashboard/core/live.js")
            Object.assign(window, { live, seen: [], resets: 0 })
            live.subscribe((events, { reset }) => {
                if (reset) window.resets += 1
                window.seen.push(...events.map(({ position, job, type }) => ({ position, job, type })))
            })
            return live.position
            """

        @Test("an open page misses nothing and shows nothing twice while the service is killed and started again")
        func killed() async throws {
            let browser = try Stage.shared.browser
            try await ServedLedger.with { served, service in
                let ledger = served.ledger
                try await ledger.tab(browser, expecting: ["net::ERR_"]) { tab in
                    try await Self.append(1...20, to: ledger)
                    try await ledger.untilProjected()
                    try await tab.open("/jobs")
                    try await Self.untilLive(tab)
                    let start = try await tab.run(Self.noting).integer ?? 0
                    try await Self.append(21...30, to: ledger)
                    for round in 1...2 {
                        await service.kill()
                        try await tab.untilThere(".connection[data-state=away]")
                        // What happens in the meantime.
                        try await Self.append((20 + 20 * round)...(39 + 20 * round), to: ledger)
                        try await service.start()
                        try await Self.untilLive(tab)
                        try await Self.append((500 + 20 * round)...(509 + 20 * round), to: ledger)
                    }
                    try await ledger.untilProjected()
                    let head = try await ledger.head()
                    try await tab.until(
                        "the page has the whole log", "return window.live.position === given[0]", .number(Double(head)))

                    let seen = try await Self.seen(tab)
                    #expect(zip(seen, seen.dropFirst()).allSatisfy { $0 < $1 }, "nothing twice, in the log's order")
                    // Conflation may leave out progress, and nothing else.
                    let others = try await Self.seen(tab, "one.type !== 'progress'")
                    let expected = try await ledger.positions(where: "position > \(start) AND type <> 'progress'")
                    #expect(others == expected.compactMap { Int($0) })
                    #expect(try await tab.run("return window.resets") == 0)
                    try await tab.untilJobs(are: try await ledger.jobs(limit: 20), because: "every row as in the table")
                    try await tab.untilCounts(are: try await ledger.counts())
                }
            }
        }

        @Test("a paused page stands still, says how much is new, and goes on without a gap")
        func paused() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.open("/jobs?q=pausing")
                try await Self.untilLive(tab)
                let start = try await tab.run(Self.noting).integer ?? 0
                try await ledger.append("pausing", "queued", #"{"name": "pausing", "total": 10}"#)
                try await tab.untilJobs(are: ["queued pausing"], because: "it is queued")
                try await tab.press("p")
                try await ledger.append("pausing", "progress", #"{"completed": 4}"#)
                try await ledger.append("pausing", "finished")
                try await tab.untilText("Paused, 2 new", in: ".connection")
                try await tab.untilJobs(are: ["queued pausing"], because: "it stands still")
                try await tab.press("p")
                try await tab.untilJobs(are: ["finished pausing"], because: "it goes on")
                let all = try await ledger.positions(where: "position > \(start)").compactMap { Int($0) }
                #expect(try await Self.seen(tab) == all)
            }
        }

        @Test("a job that has said nothing for long is overdue, and no event is made of it")
        func overdue() async throws {
            try await Stage.tab { tab, ledger in
                let head = try await ledger.head()
                try await tab.open("/jobs?status=running&overdue=1s")
                try await tab.untilText("overdue, silent", in: ".grid-row .late:not([hidden])")
                try await tab.open("/jobs?status=running&overdue=7d")
                try await tab.untilJobs(are: try await ledger.jobs(where: "status = 'running'"), because: "running")
                #expect(try await tab.count(".grid-row:not([hidden]) .late:not([hidden])") == 0)
                #expect(try await ledger.head() == head)
            }
        }

        private static func untilLive(_ tab: Tab) async throws {
            try await tab.untilThere(".connection[data-state=live]")
        }

        /// The positions of the events that the page's views were given.
        private static func seen(_ tab: Tab, _ which: String = "true") async throws -> [Int] {
            try await tab.run("return window.seen.filter(one => \(which)).map(one => one.position)").elements
                .compactMap(
                    \.integer)
        }

        /// Jobs from their first event to their last.
        private static func append(_ numbers: ClosedRange<Int>, to ledger: LookedAtLedger) async throws {
            for number in numbers {
                let job = "job-\(number)"
                try await ledger.append(job, "queued", #"{"name": "Job \#(number)", "total": 9}"#)
                if number % 5 > 0 { try await ledger.append(job, "progress", #"{"completed": \#(number % 9 + 1)}"#) }
                if number % 5 == 2 { try await ledger.append(job, "finished") }
                if number % 5 == 3 { try await ledger.append(job, "failed", #"{"error": "no"}"#) }
            }
        }
    }
}
