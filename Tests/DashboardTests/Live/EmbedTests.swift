import Foundation
import Testing

extension Dashboard {
    @Suite("in other pages") struct EmbedTests {
        /// Waits until the element shows a state and a name, and says a value.
        private static func until(_ tab: Tab, _ expected: [String]) async throws {
            try await tab.until(
                "the element", is: JSON(expected),
                """
                const root = document.querySelector("job-progress").shadowRoot
                const value = root.querySelector("[role=progressbar]").getAttribute("aria-valuenow")
                return [root.querySelector(".state").textContent, root.querySelector(".name").textContent, value]
                """)
        }

        @Test("an element shows a job's live progress in a page of another origin") func progress() async throws {
            let browser = try Stage.shared.browser
            try await StaticFiles.with { files in
                try await ServedLedger.with(["JOBLEDGER_HTTP_CORS_ORIGINS": files.address]) { served, _ in
                    let ledger = served.ledger
                    let name = #"<img src=x onerror="window.pwned = 1">"#
                    try await ledger.append("a", "queued", #"{"name": \#(JSON.string(name)), "total": 20}"#)
                    try await Tab.with(browser, at: files.address) { tab in
                        try await tab.open("/Tests/Dashboard/")
                        try await tab.run(
                            """
                            const element = document.createElement("job-progress")
                            element.setAttribute("job", "a")
                            element.setAttribute("ledger", given[0])
                            element.setAttribute("token", given[1])
                            element.addEventListener("ended", event => (window.ended = event.detail.status))
                            document.body.append(element)
                            await import(given[0] + "/dashboard/embed.js")
                            """, .string(ledger.url), .string(ledger.token))
                        try await Self.until(tab, ["queued", name, "0"])
                        try await ledger.append("a", "progress", #"{"completed": 5}"#)
                        try await Self.until(tab, ["5 of 20", name, "5"])
                        try await ledger.append("a", "finished")
                        try await Self.until(tab, ["finished, 20 of 20", name, "20"])
                        try await tab.until("the page hears of the end", "return window.ended === 'finished'")
                        #expect(try await tab.run("return window.pwned === undefined") == true)
                    }
                }
            }
        }
    }
}
