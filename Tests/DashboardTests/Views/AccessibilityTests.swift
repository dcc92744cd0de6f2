import Foundation
import LedgerTesting
import Testing

extension Dashboard {
    @Suite("for everybody") struct AccessibilityTests {
        /// Each view, with what it shows when it is full, and a word of its heading.
        private static func views(_ ledger: LookedAtLedger) async throws -> [(address: String, heading: String)] {
            let head = try await ledger.head()
            let first = try await ledger.positions(where: "stream_id = 'grid-0003'")[0]
            return [
                ("/", "Overview"), ("/jobs?status=running&status=failed&overdue=1s", "Jobs"),
                ("/jobs?at=\(head / 2)", "Jobs"), ("/jobs?q=nothing-is-called-so", "Jobs"),
                ("/jobs/\(UpLedger.demo)?runs=map", "crossover"), ("/jobs/grid-0003?runs=table&event=\(first)", "3"),
                ("/timeline?q=grid", "Timeline"), ("/compare?from=\(head - 30)&to=\(head)", "Compare"),
                ("/audit", "Audit"),
                ("/audit?show=refusals", "Audit"), ("/audit?show=proof", "Audit"), ("/operations", "Operations"),
            ]
        }

        @Test("axe finds nothing serious in any view, light and dark") func axe() async throws {
            let axe = try await Self.axe()
            try await Stage.tab { tab, ledger in
                for (address, heading) in try await Self.views(ledger) {
                    try await tab.prefer()
                    try await tab.open(address)
                    try await tab.untilShown(heading)
                    if address.contains("overdue") {
                        try await tab.click("[aria-controls=filters]")
                    }
                    try await tab.run(axe)
                    try await Self.expectNothingSerious(tab, "\(address), light")
                    try await tab.prefer(dark: true)
                    try await Self.expectNothingSerious(tab, "\(address), dark", "{ runOnly: ['color-contrast'] }")
                }
                try await tab.press("?")
                try await tab.untilThere("dialog[open]")
                try await Self.expectNothingSerious(tab, "the list of keys")
                try await tab.press(Key.escape)
                try await tab.click("button[title^='Sign out']")
                try await tab.untilThere("#token")
                try await Self.expectNothingSerious(tab, "the form to sign in")
            }
        }

        private static func expectNothingSerious(_ tab: Tab, _ what: String, _ options: String = "{}") async throws {
            let found = try await tab.run(
                """
                // Colours that change slowly are read where they end.
                for (const one of document.getAnimations()) {
                    if (one.effect.getComputedTiming().endTime !== Infinity) one.finish()
                }
                const { violations } = await axe.run(document, { resultTypes: ["violations"], ...\(options) })
                const words = (id, { html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`
                return violations.filter(one => ["serious", "critical"].includes(one.impact))
                    .flatMap(one => one.nodes.slice(0, 5).map(node => words(one.id, node)))
                """)
            #expect(found == [], "\(what)")
        }

        /// The source of axe, which `scripts/test-tools` has put beside the other tools.
        private static func axe() async throws -> String {
            let tools = BuiltProgram(path: Repository.root.appending(path: "scripts/test-tools").path)
            try await tools.run([])
            let python = BuiltProgram(path: Repository.root.appending(path: ".build/python/bin/python").path)
            let folder = try await python.run(["-c", "import axe_core_python as axe; print(axe.__path__[0])"]).trimmed
            return try String(contentsOfFile: "\(folder)/axe.min.js", encoding: .utf8)
        }

        @Test("at 400 pixels nothing is wider than the window") func narrow() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.size(400, 800)
                for (address, heading) in try await Self.views(ledger) {
                    try await tab.open(address)
                    try await tab.untilShown(heading)
                    let wider = try await tab.run(
                        """
                        const page = document.documentElement
                        const width = page.clientWidth
                        if (page.scrollWidth <= width && document.querySelector("main").scrollWidth <= width) return []
                        return [...document.querySelectorAll("body *")]
                            .filter(one => one.getBoundingClientRect().right > width + 1)
                            .map(one => one.outerHTML.slice(0, 120)).slice(0, 5)
                        """)
                    #expect(wider == [], "\(address)")
                }
                // And it can be used: a job is found, opened, and left again.
                try await tab.open("/jobs")
                try await tab.give("grid-0042", to: ".search")
                try await tab.untilJobs(are: try await ledger.jobs(where: "id = 'grid-0042'"), because: "found")
                try await tab.click(".grid-row .job-name a")
                try await tab.untilThere(".job-title")
                try await tab.click("nav a[href='/jobs']")
                try await tab.untilAddress("/jobs")
            }
        }

        @Test("all of it works by keyboard alone, and stands still for those who want that")
        func keyboard() async throws {
            try await Stage.tab { tab, ledger in
                try await tab.prefer(reducedMotion: true)
                try await tab.open("/jobs")
                try await tab.untilJobs(are: try await ledger.jobs(), because: "all jobs")
                try await tab.press(Key.tab)
                try await tab.untilThere(".skip:focus")
                try await tab.press(Key.enter)
                try await tab.untilThere("main:focus")
                // Everything that has the focus shows it, until the table has it.
                var places: [String] = []
                for _ in 0..<40 where places.last != "grid" {
                    try await tab.press(Key.tab)
                    places.append(
                        try await tab.run(
                            """
                            const one = document.activeElement
                            const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one)
                            const isSeen = outlineStyle !== "none" && outlineWidth !== "0px" || boxShadow !== "none"
                            if (!isSeen) return "unseen: " + one.outerHTML.slice(0, 150)
                            return one.getAttribute("role") ?? "other"
                            """
                        ).text ?? "")
                }
                #expect(places.last == "grid" && !places.contains { $0.hasPrefix("unseen") }, "\(places)")
                try await tab.press(Key.down, Key.down, Key.enter)
                try await tab.untilThere(".job-title")
                try await tab.until(
                    "nothing moves by itself",
                    """
                    const moving = document.getAnimations().filter(one => one.playState === "running")
                    return moving.every(one => one.effect.getComputedTiming().duration < 2)
                    """)
                // The bar of time is a slider.
                try await tab.focus("[role=slider][aria-label='The moment shown']")
                try await tab.press(Key.left)
                let head = try await ledger.head()
                try await tab.until(
                    "one event back", "return location.search === '?at=' + given[0]", .number(Double(head - 1)))
                try await tab.press("L")
                // State is a word, never a colour alone.
                try await tab.open("/jobs")
                try await tab.untilShown("Jobs")
                #expect(try await tab.count(".badge:not([hidden]):empty") == 0)
            }
        }
    }
}
