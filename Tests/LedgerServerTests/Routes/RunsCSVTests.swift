import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

@Suite("runs as CSV over HTTP") struct RunsCSVTests {
    private static func report(_ runs: String, of service: TestService) async throws {
        _ = try await service.ledger.store.append(
            NewEvent(type: "progress", data: #"{"completed":1,"runs":[\#(runs)]}"#), to: "a")
    }

    private static func projected(_ service: TestService) async throws {
        let head = try await service.ledger.store.head()
        #expect(try await service.ask("GET", "/v1/jobs/a/runs?min_position=\(head)").status == 200)
    }

    @Test("all runs, with a column for each variable and metric") func columns() async throws {
        try await TestService.with(projecting: true) { service in
            try await service.ledger.queue("a")
            let runs = [
                #"{"run_index":2,"variables":{"ticker":"=1+1","n":-5},"metrics":{"sharpe":12345678901234567890.10}}"#,
                #"{"run_index":0,"variables":{"ticker":"SPY, \"Q\""},"metrics":{"sharpe":-1.50,"=x":true}}"#,
                #"{"run_index":1,"variables":{"ticker":"line\nbreak"},"metrics":{"note":{"a":[1]},"sharpe":null}}"#,
            ]
            try await Self.report(runs.joined(separator: ","), of: service)
            try await Self.projected(service)
            let expected = [
                "run_index,ticker,n,'=x,sharpe,note", #"0,"SPY, ""Q""",,true,-1.50,"#,
                "1,\"line\nbreak\",,,,\"{\"\"a\"\": [1]}\"", "2,'=1+1,-5,,12345678901234567890.10,", "",
            ].joined(separator: "\r\n")
            for (query, accept) in [
                ("?format=csv", "*/*"), ("", "text/csv"), ("", "application/json;q=0.5, text/csv"),
                ("?min_position=2", "text/csv;header=present"), ("?format=csv", "application/json"),
            ] {
                let answer = try await service.ask("GET", "/v1/jobs/a/runs\(query)", headers: ["accept": accept])
                #expect(answer.status == 200 && answer.text == expected, "\(query) \(accept): \(answer)")
                #expect(answer.headers["content-type"] == "text/csv; charset=utf-8; header=present")
                #expect(answer.headers["content-disposition"] == "attachment; filename=\"runs.csv\"")
            }
            for (query, accept) in [
                ("", "*/*"), ("", "text/csv;q=0.5, application/json"), ("?format=json", "text/csv"), ("", "text/*"),
            ] {
                let answer = try await service.ask("GET", "/v1/jobs/a/runs\(query)", headers: ["accept": accept])
                #expect(answer.json["runs"].elements.count == 3, "\(query) \(accept): \(answer)")
            }
            for bad in ["format=xml", "format=csv&limit=5", "format=csv&after=1", "format=csv&format=csv"] {
                #expect(try await service.ask("GET", "/v1/jobs/a/runs?\(bad)").status == 400, "\(bad)")
            }
            #expect(try await service.ask("GET", "/v1/jobs/b/runs?format=csv").status == 404)
            let head = try await service.ask("HEAD", "/v1/jobs/a/runs?format=csv")
            #expect(head.status == 200 && head.body.isEmpty)
        }
    }

    @Test("a job without runs has the names of no columns but the index") func none() async throws {
        try await TestService.with(projecting: true) { service in
            try await service.ledger.queue("a")
            try await Self.projected(service)
            #expect(try await service.ask("GET", "/v1/jobs/a/runs?format=csv").text == "run_index\r\n")
        }
    }

    @Test("more runs than a page has, each once and in order") func many() async throws {
        try await TestService.with(projecting: true) { service in
            try await service.ledger.queue("a")
            for first in stride(from: 0, to: 5000, by: 500) {
                let runs = (first..<first + 500).map { #"{"run_index":\#($0),"metrics":{"m":\#($0 * 2)}}"# }
                try await Self.report(runs.joined(separator: ","), of: service)
            }
            try await Self.projected(service)
            let answer = try await service.ask("GET", "/v1/jobs/a/runs?format=csv")
            let expected = "run_index,m\r\n" + (0..<5000).map { "\($0),\($0 * 2)\r\n" }.joined()
            #expect(answer.text == expected)
        }
    }

    @Test("too many different names are refused") func wide() async throws {
        try await TestService.with(projecting: true) { service in
            try await service.ledger.queue("a")
            let metrics = (0..<1001).map { "\"m\($0)\":1" }.joined(separator: ",")
            try await Self.report(#"{"run_index":0,"metrics":{\#(metrics)}}"#, of: service)
            try await Self.projected(service)
            let answer = try await service.ask("GET", "/v1/jobs/a/runs?format=csv")
            #expect(answer.status == 413 && answer.code == "too_large", "\(answer)")
        }
    }
}
