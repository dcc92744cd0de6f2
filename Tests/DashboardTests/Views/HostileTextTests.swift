import Testing

extension Dashboard {
    @Suite("texts from outside") struct HostileTextTests {
        private static let image = #"<img src=x onerror="window.pwned = 1">"#
        private static let script = #""'></a></pre><script>window.pwned = 2</script>"#
        private static let job = #"<b onclick='window.pwned = 3'>"job</b>"#

        @Test("what the ledger holds is shown as text, in every view") func text() async throws {
            try await Stage.tab { tab, ledger in
                try await Self.append(to: ledger)
                try await ledger.untilProjected()
                let positions = try await ledger.positions(where: "stream_id LIKE '<b onclick%'").compactMap { Int($0) }
                let (first, last) = (positions[0], positions[positions.count - 1])
                func encoded(_ text: String) async throws -> String {
                    try await tab.run("return encodeURIComponent(given[0])", .string(text)).text ?? ""
                }
                let (id, actor) = (try await encoded(Self.job), try await encoded(Self.script))
                for (address, texts) in [
                    ("/", [Self.image, "javascript:window.pwned"]),
                    ("/jobs", [Self.image, Self.job, "javascript:window.pwned"]),
                    ("/jobs?actor=\(actor)", [Self.image, Self.script]),
                    ("/jobs/\(id)?event=\(last)", [Self.image, Self.job, "javascript:window.pwned", Self.script]),
                    ("/jobs/\(id)?runs=table", [Self.image, Self.script]),
                    ("/timeline", [Self.image]),
                    ("/audit", [Self.script, Self.job]),
                    ("/compare?from=\(first - 1)&to=now&job=\(id)", [Self.image, Self.job]),
                    ("/operations", []),
                ] as [(String, [String])] {
                    try await tab.open(address)
                    for text in texts {
                        try await tab.untilText(text)
                    }
                    try await tab.until(
                        "no markup of it at \(address)",
                        """
                        return window.pwned === undefined && document.querySelector("main *")
                            && !document.querySelector("img[src=x], script:not([src]), [onclick], [onerror]")
                            && ![...document.querySelectorAll("a[href]")].some(one => one.protocol === "javascript:")
                        """)
                }
            }
        }

        @Test("a cell of the CSV that begins like a formula is none") func formulas() async throws {
            try await Stage.tab { tab, ledger in
                try await ledger.append("formula", "queued", #"{"name": "formula", "total": 2}"#)
                try await ledger.append(
                    "formula", "finished",
                    """
                    {"results": {"runs": [
                      {"run_index": 0, "variables": {"=1+1": "@SUM(A1)"}, "metrics": {"m": -1.5}}]}}
                    """)
                try await ledger.untilProjected()
                try await tab.open("/jobs/formula?runs=table")
                try await tab.untilText("@SUM(A1)", in: ".runs")
                let csv = try await tab.run(
                    "return (await fetch(document.querySelector('.runs a[download]').href)).text()"
                ).text
                #expect(csv == "run_index,'=1+1,m\r\n0,'@SUM(A1),-1.5\r\n")
            }
        }

        /// A job whose every text is hostile.
        private static func append(to ledger: LookedAtLedger) async throws {
            func json(_ text: String) -> JSON { .string(text) }
            try await ledger.append(
                job, "queued",
                """
                {"name": \(json(image)), "total": 2, "strategy": {\(json(image)): \(json(script))},
                 "variables": [{"name": \(json(image)), "values": [\(json(script))], "count": 1}]}
                """, actor: script)
            try await ledger.append(
                job, "progress",
                """
                {"completed": 1, "message": \(json(script)), "runs": [
                  {"run_index": 0, "variables": {\(json(image)): \(json(script))}, "metrics": {\(json(script)): 1}}]}
                """, actor: script)
            try await ledger.append(job, "truncated", #"{"reason": \#(json(image))}"#, actor: script)
            let error = json("javascript:window.pwned = 4 " + script)
            try await ledger.append(
                job, "failed", #"{"error": \#(error), "view_url": "javascript:window.pwned = 5"}"#, actor: script)
        }
    }
}
