import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("jobs") struct JobsTests {
        private static let queued: [(job: String, data: String, metadata: String)] = [
            (
                "a", #"{"name":"SMA","total":200,"variables":[{"name":"ticker","values":["SPY"],"count":1}]}"#,
                #"{"actor":"ada"}"#
            ),
            ("b", #"{"name":"=1+1, \"quoted\"","kind":"local","total":10}"#, #"{"actor":"bob","team":"research"}"#),
            ("c", #"{"name":"\u001b[31mred\nline"}"#, #"{"actor":"ada"}"#),
        ]

        /// Three jobs at positions 1 to 3, progress of two at 4 and 5, and the end of one at 6.
        private static func fill(_ user: UserLedger) async throws {
            let store = user.ledger.store
            for (job, data, metadata) in queued {
                _ = try await store.append(NewEvent(type: "queued", data: data, metadata: metadata), to: JobID(job))
            }
            try await user.ledger.progress("a", 50)
            try await user.ledger.progress("b", 3)
            _ = try await store.append(NewEvent(type: "failed", data: #"{"error":"Out of MEMORY"}"#), to: "b")
            try await user.untilProjected()
        }

        private static let selections: [(arguments: [String], jobs: [String])] = [
            ([], ["c", "b", "a"]), (["--order", "asc"], ["a", "b", "c"]), (["--limit", "2"], ["c", "b"]),
            (["--status", "running"], ["a"]), (["--status", "failed", "--status", "queued"], ["c", "b"]),
            (["--kind", "local"], ["b"]), (["--actor", "ada"], ["c", "a"]), (["--text", "of memory"], ["b"]),
            (["--text", "sma"], ["a"]), (["--variable", "ticker"], ["a"]), (["--variable", "ticker:SPY"], ["a"]),
            (["--variable", "ticker:QQQ"], []), (["--metadata", "team:research"], ["b"]),
            (["--since", "2020-01-01T00:00:00Z", "--until", "2999-01-01T00:00:00Z"], ["c", "b", "a"]),
            (["--until", "2020-01-01T00:00:00Z"], []), (["--no-truncated", "--sort", "updated"], ["b", "a", "c"]),
            (["--truncated"], []), (["--at", "2", "--status", "queued"], ["b", "a"]), (["--at", "0"], []),
        ]

        @Test("lists those that meet all conditions, in the order that was asked for") func selects() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                for (arguments, jobs) in Self.selections {
                    let json = try await user.run(["jobs", "--json"] + arguments)
                    #expect(
                        try json.code == 0 && json.jsonLines().compactMap { $0["id"]?.text } == jobs,
                        "\(arguments): \(json)")
                    let csv = try await user.run(["jobs", "--csv"] + arguments)
                    #expect(
                        csv.code == 0 && csv.output.split(separator: "\r\n").count - 1 == jobs.count,
                        "\(arguments): \(csv)")
                }
            }
        }

        @Test("is a table for people, with the numbers of states, and text that nobody obeys") func people()
            async throws
        {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                let all = try await user.run("jobs")
                #expect(all.code == 0 && all.errors.isEmpty && all.lines.count == 5, "\(all)")
                #expect(all.lines[0].hasPrefix("state    job  name"))
                #expect(all.lines[1].hasPrefix("queued   c    \u{FFFD}[31mred\u{FFFD}line"))
                #expect(all.lines[3].hasPrefix("running  a    SMA") && all.lines[3].contains("50"))
                #expect(all.lines[4] == "of all jobs 1 running, 1 queued, 0 finished, 1 failed, at position 6")
                let past = try await user.run("jobs", "--at", "4", "--limit", "1")
                #expect(past.lines.last == "of all jobs 1 running, 2 queued, 0 finished, 0 failed, at position 4")
                #expect(past.errors == "there are more: --limit 2\n")
                let none = try await user.run("jobs", "--text", "nowhere")
                #expect(none.code == 0 && none.lines.count == 1 && none.errors == "no job meets the conditions\n")
            }
        }

        @Test("as CSV has cells that no spreadsheet evaluates") func csv() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                let csv = try await user.run("jobs", "--csv", "--kind", "local")
                #expect(csv.output.hasPrefix("id,name,kind,status,actor,total,completed,truncated,created_at,"))
                #expect(csv.output.contains("\r\nb,\"'=1+1, \"\"quoted\"\"\",local,failed,bob,10,3,false,"))
                #expect(csv.output.hasSuffix(",Out of MEMORY\r\n"))
            }
        }

        @Test("lists more jobs than one page has, each once, as of one moment") func pages() async throws {
            try await UserLedger.with(projecting: true) { user in
                let lines = (0..<2500).map { #"{"job":"j\#($0)","type":"queued","data":{"name":"n"}}"# + "\n" }
                #expect(try await user.run("append", "--file", "-", input: Data(lines.joined().utf8)).code == 0)
                try await user.untilProjected()
                let all = try await user.run("jobs", "--json", "--sort", "name").jsonLines().compactMap {
                    $0["id"]?.text
                }
                #expect(all.count == 2500 && Set(all).count == 2500)
                let some = try await user.run("jobs", "--csv", "--limit", "1500")
                #expect(some.output.split(separator: "\r\n").count == 1501)
                let people = try await user.run("jobs")
                #expect(people.lines.count == 52 && people.errors == "there are more: --limit 100\n")
            }
        }
    }

    @Suite("runs") struct RunsTests {
        private static func fill(_ user: UserLedger) async throws {
            try await user.ledger.queue("a", total: 3)
            let runs = [
                #"{"run_index":0,"variables":{"ticker":"SPY","n":5},"metrics":{"sharpe":1.25,"drawdown":-0.3}}"#,
                #"{"run_index":1,"variables":{"ticker":"=cmd()","n":10},"metrics":{"sharpe":11.5,"drawdown":-0.1}}"#,
                #"{"run_index":2,"variables":{"ticker":"QQQ","n":7},"metrics":{"drawdown":-0.2}}"#,
            ]
            _ = try await user.ledger.store.append(
                NewEvent(type: "progress", data: #"{"completed":3,"runs":[\#(runs.joined(separator: ","))]}"#), to: "a")
            try await user.ledger.queue("empty")
            try await user.untilProjected()
        }

        private static let orders: [(arguments: [String], runs: [Int])] = [
            ([], [0, 1, 2]), (["--order", "desc"], [2, 1, 0]), (["--sort", "sharpe"], [1, 0, 2]),
            (["--sort", "sharpe", "--order", "asc"], [0, 1, 2]), (["--sort", "n"], [1, 2, 0]),
            (["--sort", "drawdown", "--limit", "2"], [1, 2]),
        ]

        @Test("lists the runs of a job, sorted by a metric or variable") func sorts() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                for (arguments, runs) in Self.orders {
                    let json = try await user.run(["runs", "a", "--json"] + arguments)
                    #expect(
                        try json.jsonLines().compactMap { $0["run_index"]?.integer } == runs, "\(arguments): \(json)")
                }
                let table = try await user.run("runs", "a", "--sort", "sharpe")
                #expect(
                    table.lines == [
                        "run   n  ticker  sharpe  drawdown", "  1  10  =cmd()    11.5      -0.1",
                        "  0   5  SPY       1.25      -0.3", "  2   7  QQQ                 -0.2",
                    ], "\(table)")
                let csv = try await user.run("runs", "a", "--csv")
                #expect(
                    csv.output
                        == "run_index,n,ticker,sharpe,drawdown\r\n0,5,SPY,1.25,-0.3\r\n1,10,'=cmd(),11.5,-0.1\r\n"
                        + "2,7,QQQ,,-0.2\r\n", "\(csv)")
                let few = try await user.run("runs", "a", "--limit", "1")
                #expect(few.lines.count == 2 && few.errors == "there are more: --limit 2\n")
            }
        }

        @Test("says what is wrong") func mistakes() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                let metric = try await user.run("runs", "a", "--sort", "sharp")
                #expect(
                    metric.code == 2 && metric.errors.contains("There are: sharpe, drawdown, n, ticker."), "\(metric)")
                let none = try await user.run("runs", "empty")
                #expect(
                    none.code == 0 && none.output.isEmpty && none.errors.contains("has reported no runs"), "\(none)")
                let unknown = try await user.run("runs", "nobody", "--json")
                #expect(try unknown.code == 1 && unknown.json()["error"]?["code"] == "unknown_job", "\(unknown)")
                #expect(unknown.errors == "unknown_job: no job nobody\n")
            }
        }
    }
}
