import EventStore
import Foundation
import LedgerSettings
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

@Suite("operating the HTTP service") struct OperationsTests {
    @Test("readiness says what is not ready") func readiness() async throws {
        try await TestService.with { service in
            let bare = try await service.ask("GET", "/readyz", token: "")
            #expect(bare.status == 200 && bare.json["status"].text == "ready")
            let checks = Dictionary(
                uniqueKeysWithValues: bare.json["checks"].elements.map { ($0["name"].text ?? "", $0) })
            #expect(checks["postgres"]?["ready"].bool == true)
            #expect(checks["projections"]?["ready"].bool == false)
            #expect(checks["relay"]?["ready"].bool == false)
            let connection = try await service.ledger.connect()
            // An older ledger.
            try await connection.execute(script: "DROP FUNCTION scopes_of_token(text, bytea)")
            let older = try await service.ask("GET", "/readyz", token: "")
            #expect(older.status == 503 && older.text.contains("jobledger migrate"), "\(older)")
            #expect(try await service.ask("GET", "/livez", token: "").status == 200)
            await connection.close()
        }
    }

    /// A session that holds the log until it rolls back.
    private static func sitter(on service: TestService) async throws -> PostgresConnection {
        let sitter = try await service.ledger.connect(as: "sitter")
        try await sitter.execute(
            script: """
                BEGIN; SELECT append_event('a', 'queued', '{"name":"n"}');
                SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0
                """)
        return sitter
    }

    @Test("readiness reports a log that is held, and metrics report by which session") func holder() async throws {
        try await TestService.with { service in
            let sitter = try await Self.sitter(on: service)
            let owner = "\"\(service.ledger.name)_owner\""
            let admin = try await service.ledger.connect()
            try await admin.execute(script: "GRANT pg_read_all_stats TO \(owner)")
            let process = await sitter.serverProcess
            let held = try await eventually("the log is held") {
                let answer = try await service.ask("GET", "/readyz")
                return answer.json["checks"].elements.first { $0["name"].text == "log" && $0["ready"].bool == false }
            }
            // The report, which anyone may see, does not name the session.
            #expect(held["detail"].text?.contains("sitter") == false && held["needed"].bool == false, "\(held)")
            let metrics = try await service.ask("GET", "/metrics").text
            #expect(metrics.contains("jobledger_log_held_seconds{by=\"process \(process) of "))
            try await sitter.execute(script: "ROLLBACK")
            let free = try await service.ask("GET", "/readyz")
            #expect(free.text.contains(#"{"name":"log","ready":true"#), "\(free)")
            #expect(try await service.ask("GET", "/metrics").text.contains("jobledger_log_held_seconds{by=\"\"} 0"))
            for connection in [sitter, admin] { await connection.close() }
        }
    }

    @Test("the service itself times how long the log is held, without a right to see it") func timedHold() async throws
    {
        try await TestService.with { service in
            let sitter = try await Self.sitter(on: service)
            let process = await sitter.serverProcess
            // Nobody waits for it.
            let ready = try await eventually("the service is not ready") {
                let answer = try await service.ask("GET", "/readyz")
                return answer.status == 503 ? answer : nil
            }
            #expect(ready.text.contains("the log has been held for"), "\(ready)")
            #expect(ready.text.contains(#"{"name":"log","ready":false"#), "\(ready)")
            let metrics = try await service.ask("GET", "/metrics").text
            #expect(metrics.contains("jobledger_log_held_seconds{by=\"process \(process) of "), "\(metrics)")
            try await sitter.execute(script: "ROLLBACK")
            #expect(try await service.ask("GET", "/readyz").status == 200)
            await sitter.close()
        }
    }

    @Test("readiness reports a clock that was once ahead") func clock() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            #expect(try await service.ask("GET", "/readyz").text.contains(#"{"name":"clock","ready":true"#))
            let connection = try await service.ledger.connect()
            try await connection.execute(
                script: """
                    ALTER TABLE events DISABLE TRIGGER events_append_only;
                    UPDATE events SET recorded_at = clock_timestamp() + interval '1 hour';
                    ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only
                    """)
            // An event never gets an earlier time than the event before it.
            try await service.ledger.progress("a", 1)
            let inOrder: Bool = try await connection.query("SELECT min(recorded_at) = max(recorded_at) FROM events")
                .only()
                .decode(0)
            #expect(inOrder)
            let answer = try await service.ask("GET", "/readyz")
            #expect(answer.text.contains(#"{"name":"clock","ready":false"#) && answer.status == 200, "\(answer)")
            let ahead = try await service.ask("GET", "/metrics").text.split(separator: "\n")
                .first { $0.hasPrefix("jobledger_clock_ahead_seconds ") }.flatMap { Int($0.split(separator: " ")[1]) }
            #expect((3000...3600).contains(ahead ?? 0))
            await connection.close()
        }
    }

    @Test("readiness reports projections") func projections() async throws {
        try await TestService.with(projecting: true) { service in
            try await service.ledger.queue("a")
            _ = try await service.ask("GET", "/v1/jobs/a?min_position=1")
            let ready = try await service.ask("GET", "/readyz")
            #expect(ready.text.contains(#"{"name":"projection batch_jobs","ready":true"#), "\(ready)")
        }
    }

    @Test("what a projector writes about itself is escaped and limited in reports") func hostileProjections()
        async throws
    {
        try await TestService.with { service in
            let connection = try await service.ledger.connect()
            let name = "x\",\"ready\":true}\n{\u{1B}[2J"
            try await connection.query(
                """
                INSERT INTO projections (name, definition, state, error)
                SELECT $1 || n || repeat('y', 10000), 'd', 'stopped', 'secret ' || repeat('z', 2000000)
                  FROM generate_series(1, 20) AS n
                """, name)
            let answer = try await service.ask("GET", "/readyz", token: "")
            #expect(answer.body.count < 20_000 && !answer.text.contains("secret"), "\(answer.body.count)")
            let checks = answer.json["checks"].elements.filter {
                $0["name"].text?.hasPrefix("projection \(name)") == true
            }
            #expect(checks.count == 20 && checks.allSatisfy { $0["ready"].bool == false }, "\(answer)")
            // Nor do they make lines of their own in the metrics.
            let metrics = try await service.ask("GET", "/metrics")
            #expect(metrics.status == 200 && !metrics.text.contains("\n{"))
            await connection.close()
        }
    }

    @Test("metrics follow Prometheus's conventions, and never contain a job's id") func metrics() async throws {
        try await TestService.with(projecting: true) { service in
            _ = try await service.append(#"{"type":"queued","data":{"name":"x"}}"#, to: "a-secret-job")
            _ = try await service.append(#"{"type":"queued","data":{"name":"x"}}"#, to: "a-secret-job")
            _ = try await service.ask("GET", "/v1/jobs/a-secret-job?min_position=1")
            _ = try await service.ask("GET", "/a-secret-job")
            var stream = try await service.stream("/v1/jobs/a-secret-job/events")
            _ = try await stream.next()
            let answer = try await service.ask("GET", "/metrics")
            #expect(answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            let lines = answer.text.split(separator: "\n").map(String.init)
            for line in [
                #"jobledger_events_appended_total{type="queued"} 1"#,
                #"jobledger_append_refused_total{code="already_queued"} 1"#,
                "jobledger_append_duration_seconds_count 2", "jobledger_subscribers 1", "jobledger_relay_lag_events 1",
                #"jobledger_projection_lag_events{projection="batch_jobs"} 0"#,
                #"jobledger_append_duration_seconds_bucket{le="+Inf"} 2"#,
                #"jobledger_http_requests_total{method="GET",path="/v1/jobs/{id}",status="200"} 1"#,
                "jobledger_gaps_detected_total 0", "jobledger_messages_rejected_total 0",
                "jobledger_refilled_events_total 0",
            ] {
                #expect(lines.contains(line), "\(line)")
            }
            #expect(lines.contains { $0.hasPrefix("jobledger_delivery_lag_seconds_count ") })
            #expect(!answer.text.contains("secret"))
            // Each metric has one HELP and TYPE, before its samples.
            let helps = lines.filter { $0.hasPrefix("# HELP ") }.map { $0.split(separator: " ")[2] }
            #expect(Set(helps).count == helps.count)
            for line in lines where !line.hasPrefix("#") {
                let name = line.prefix { $0 != "{" && $0 != " " }
                #expect(helps.contains { name == $0 || name.hasPrefix($0 + "_") }, "\(line)")
                #expect(Double(line.split(separator: " ").last ?? "") != nil, "\(line)")
            }
        }
    }

    @Test("unknown paths and methods are problems too") func unknown() async throws {
        try await TestService.with { service in
            for path in [
                "/", "/v1", "/v1/jobs/", "/v1/jobs/a/", "/V1/jobs", "/v1/jobs/a/events/1", "//", "/v1/events/",
            ] {
                let answer = try await service.ask("GET", path)
                #expect(answer.status == 404 && answer.code == "not_found", "\(path): \(answer)")
            }
            for method in ["PUT", "DELETE", "PATCH", "TRACE", "QUERY"] {
                let answer = try await service.ask(method, "/v1/events")
                #expect(
                    answer.status == 405 && answer.headers["allow"] == "GET, HEAD, POST, OPTIONS",
                    "\(method): \(answer)")
            }
            let head = try await service.ask("HEAD", "/v1/events")
            #expect(head.status == 200 && head.body.isEmpty)
        }
    }

    @Test("only pages of configured origins may use the service") func crossOrigin() async throws {
        try await TestService.with(settings: .changed { $0.corsOrigins = ["https://app.example"] }) { service in
            let ask = ["origin": "https://app.example", "access-control-request-method": "POST"]
            let preflight = try await service.ask("OPTIONS", "/v1/jobs/a/events", token: "", headers: ask)
            #expect(preflight.status == 204)
            #expect(preflight.headers["access-control-allow-origin"] == "https://app.example")
            #expect(preflight.headers["access-control-allow-headers"]?.contains("Authorization") == true)
            let allowed = try await service.ask("GET", "/v1/events", headers: ["origin": "https://app.example"])
            #expect(
                allowed.headers["access-control-allow-origin"] == "https://app.example"
                    && allowed.headers["vary"] == "Accept, Origin")
            // Errors too, so that a page can read them.
            let refused = try await service.ask(
                "GET", "/v1/events", token: "", headers: ["origin": "https://app.example"])
            #expect(refused.status == 401 && refused.headers["access-control-allow-origin"] == "https://app.example")
            let foreign = try await service.ask("GET", "/v1/events", headers: ["origin": "https://other.example"])
            #expect(foreign.headers["access-control-allow-origin"] == nil)
            let foreignPreflight = try await service.ask(
                "OPTIONS", "/v1/events", token: "",
                headers: ["origin": "https://other.example", "access-control-request-method": "POST"])
            #expect(foreignPreflight.status == 204)
        }
        try await TestService.with { service in
            let answer = try await service.ask("GET", "/v1/events", headers: ["origin": "https://app.example"])
            #expect(answer.headers["access-control-allow-origin"] == nil)
        }
    }

    @Test("the documents match the service") func documents() async throws {
        try await TestService.with { service in
            let openapi = try await service.ask("GET", "/openapi.json", token: "").json
            #expect(openapi["openapi"].text?.hasPrefix("3.1") == true)
            let asyncapi = try await service.ask("GET", "/asyncapi.json", token: "").json
            #expect(asyncapi["asyncapi"].text == "3.0.0")
            // Every channel that is an HTTP path is a path of the OpenAPI document that can be
            // read.
            let paths = asyncapi["channels"].members.values.compactMap { $0["address"].text }.filter {
                $0.hasPrefix("/")
            }
            #expect(paths.count == 3)
            for path in paths { #expect(!openapi["paths"][path]["get"].isNull, "\(path)") }
            // Every operation of the document exists: it answers something other than 404 and 405.
            for (method, path, _) in try await TokenTests.operations(service) {
                #expect(
                    ![404, 405].contains(try await service.ask(method, path, token: "").status), "\(method) \(path)")
            }
        }
    }
}
