extension Tab {
    /// The states and ids of the first rows of the table of jobs, as far as they are drawn.
    static let rowsOfJobs = """
        const grid = document.querySelector(".grid")
        if (grid.classList.contains("is-old")) return "not yet"
        return [...grid.querySelectorAll(".grid-body > .grid-row:not([hidden], .is-waiting)")]
            .sort((a, b) => a.getAttribute("aria-rowindex") - b.getAttribute("aria-rowindex"))
            .map(row => `${row.querySelector(".badge").textContent} ${row.querySelector(".mono").textContent}`)
        """

    /// Waits until the table shows these jobs first: the state and the id of each.
    func untilJobs(are expected: [String], because reason: String) async throws {
        let script = """
            if (given[0] === 0) return document.querySelector(".grid").hidden ? [] : "there are rows"
            const rows = (() => { \(Self.rowsOfJobs) })()
            return Array.isArray(rows) ? rows.slice(0, given[0]) : rows
            """
        try await until(reason, is: JSON(expected), script, .number(Double(expected.count)))
    }

    /// Waits until the view is there, and what it loads first.
    func untilShown(_ heading: String) async throws {
        try await until(
            "the view \(heading)",
            """
            if (document.querySelector(".loading, .is-old")) return false
            const text = document.querySelector("main").innerText
            return [...document.querySelectorAll("main h1")].some(one => one.textContent.includes(given[0]))
                && !/Loading …|^…$/m.test(text)
            """, .string(heading))
    }
}

extension LookedAtLedger {
    /// Jobs by the tables that the list of jobs is not made of: `batch_jobs`, and the first events.
    static let jobs = """
        (SELECT b.*, e.position AS queued_position, e.metadata ->> 'actor' AS actor, e.metadata
           FROM batch_jobs AS b JOIN events AS e ON e.category = 'job' AND e.stream_id = b.id AND e.version = 1) AS j
        """

    /// States and ids of jobs, in an order.
    func jobs(where condition: String = "true", by order: String = "queued_position DESC", limit: Int = 15) async throws
        -> [String]
    {
        try await sql(
            "SELECT status || ' ' || id FROM \(Self.jobs) WHERE \(condition) ORDER BY \(order) LIMIT \(limit)")
    }

    func count(where condition: String) async throws -> Int {
        try await number("SELECT count(*) FROM \(Self.jobs) WHERE \(condition)")
    }

    /// The states of jobs in the order in which the page shows them, as `s.state`.
    static let states = "unnest(ARRAY['queued', 'running', 'finished', 'failed']) WITH ORDINALITY AS s(state, number)"

    /// How many jobs there are in each state.
    func counts() async throws -> [String] {
        try await sql(
            """
            SELECT count(b.id) FROM \(Self.states)
              LEFT JOIN batch_jobs AS b ON b.status = s.state GROUP BY s.number ORDER BY s.number
            """)
    }

    /// Positions of events, in their order.
    func positions(where condition: String) async throws -> [String] {
        try await sql("SELECT position FROM events WHERE \(condition) ORDER BY position")
    }
}
