import LedgerTesting
import Testing

extension Dashboard {
    @Suite("the audit trail") struct AuditTests {
        private static func untilPositions(_ tab: Tab, are expected: [String]) async throws {
            try await tab.untilTexts(of: ".trail tbody tr[data-position]", are: expected, text: "one.dataset.position")
        }

        @Test("who did what, with each filter, is what SQL says") func filters() async throws {
            try await Stage.tab { tab, ledger in
                try await ledger.append("audited", "queued", #"{"name": "Audited"}"#, actor: "mallory")
                try await ledger.execute(
                    """
                    SELECT append_event('audited', 'failed', '{"error": "tape torn"}',
                                        '{"actor": "mallory", "correlation_id": "night-9"}')
                    """)
                try await ledger.untilProjected()
                let head = try await ledger.head()
                for (address, condition, order) in [
                    ("", "true", "DESC"), ("?actor=mallory", "metadata ->> 'actor' = 'mallory'", "DESC"),
                    ("?type=truncated", "type = 'truncated'", "DESC"),
                    ("?job=\(UpLedger.demo)&order=oldest", "stream_id = '\(UpLedger.demo)'", "ASC"),
                    ("?text=torn", "data ->> 'error' LIKE '%torn%'", "DESC"),
                    ("?correlation_id=night-9", "metadata ->> 'correlation_id' = 'night-9'", "DESC"),
                    ("?from=100&to=120", "position BETWEEN 100 AND 120", "DESC"),
                    ("?at=\(head - 5)", "position <= \(head - 5)", "DESC"),
                ] {
                    try await tab.open("/audit\(address)")
                    let expected = try await ledger.sql(
                        "SELECT position FROM events WHERE \(condition) ORDER BY position \(order) LIMIT 50")
                    try await Self.untilPositions(tab, are: expected)
                }
                // The form, and the pages.
                try await tab.open("/audit")
                try await tab.enter("worker-1", into: "input[name=actor]")
                try await tab.click(text: "Find", in: ".audit form")
                let worker = try await ledger.positions(where: "metadata ->> 'actor' = 'worker-1'").reversed()
                try await Self.untilPositions(tab, are: Array(worker.prefix(50)))
                try await tab.click(text: "Next →", in: ".pager")
                try await Self.untilPositions(tab, are: Array(worker.dropFirst(50).prefix(50)))
            }
        }

        @Test("a refused request is in the list of refusals") func refusals() async throws {
            try await Stage.tab(expecting: ["status of 4"]) { tab, ledger in
                try await tab.open("/audit?show=refusals")
                let status = try await tab.run(
                    """
                    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${given[0]}` }
                    const body = JSON.stringify({ type: "finished", metadata: { actor: "mallory" } })
                    return (await fetch("/v1/jobs/never-queued/events", { method: "POST", headers, body })).status
                    """, .string(ledger.token))
                #expect(status == 409 || status == 404, "\(status)")
                // It is noted soon, with others.
                _ = try await eventually("the refusal is noted") {
                    try await ledger.number("SELECT count(*) FROM refusals WHERE job = 'never-queued'") > 0 ? true : nil
                }
                try await tab.click(text: "Find", in: ".audit form")
                try await tab.untilText("never-queued", in: ".trail tbody")
                try await tab.untilText("unknown_job", in: ".trail tbody")
            }
        }
    }
}
