import Testing

extension Dashboard {
    @Suite("the timeline") struct TimelineTests {
        /// The stretch of time in the address, in milliseconds, once it is another one.
        private static func span(_ tab: Tab, otherThan before: JSON) async throws -> JSON {
            try await tab.until(
                "another stretch of time",
                """
                const params = new URLSearchParams(location.search)
                const span = ["from", "to"].map(name => Date.parse(params.get(name)))
                return span.every(time => time > 0) && JSON.stringify(span) !== JSON.stringify(given[0]) && span
                """, before)
        }

        private static func width(_ span: JSON) -> Int {
            (span.elements[1].integer ?? 0) - (span.elements[0].integer ?? 0)
        }

        private static let rows = """
            return [...document.querySelectorAll(".timeline .grid-body > .grid-row:not([hidden])")]
                .sort((a, b) => a.getAttribute("aria-rowindex") - b.getAttribute("aria-rowindex")).slice(0, 15)
                .map(row => [row.querySelector(".badge").textContent, row.querySelector("a").pathname.slice(6)])
                .map(([state, id]) => `${state} ${decodeURIComponent(id)}`)
            """

        @Test("one row a job, with the same filters; what is drawn over is zoomed into, in the address")
        func timeline() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.open("/timeline")
                try await tab.until("all jobs", is: JSON(try await ledger.jobs()), Self.rows)
                try await tab.open("/timeline?status=failed&q=grid")
                let failed = try await ledger.jobs(where: "status = 'failed' AND id LIKE 'grid%'")
                try await tab.until("failed jobs", is: JSON(failed), Self.rows)
                // A bar says its times to those who do not see it.
                try await tab.until(
                    "words",
                    """
                    const { textContent } = document.querySelector(".timeline-row .bars")
                    return /queued .*, failed .*, ran for/.test(textContent)
                    """
                )

                let axis = try await tab.box(".timeline .axis")
                let height = axis.top + axis.height / 2
                try await tab.drag(
                    from: (axis.left + axis.width / 4, height), to: (axis.left + axis.width * 3 / 4, height))
                var span = try await Self.span(tab, otherThan: .null)
                for (key, isNarrower) in [("+", true), (Key.right, false), ("-", false)] {
                    try await tab.press(key)
                    let next = try await Self.span(tab, otherThan: span)
                    #expect((Self.width(next) < Self.width(span) - 1) == isNarrower, "\(key): \(span), \(next)")
                    span = next
                }
                try await tab.reload()
                #expect(try await Self.span(tab, otherThan: .null) == span, "the address opened afresh")
                try await tab.untilThere(".timeline-row .bars")
                try await tab.press("0")
                try await tab.untilAddress("/timeline?status=failed&q=grid")
                try await tab.press("j", "o")
                try await tab.until("a job opens", "return location.pathname.startsWith('/jobs/grid-')")
            }
        }
    }
}
