import EmbeddedServices
import EventStore
import Foundation
import HTTPTypes
import LedgerCore
import LedgerSettings
import LedgerTesting
import Testing

@testable import LedgerServer
@testable import Postgres

/// Outages of the database: the service answers with errors that say so, and recovers by itself.
@Suite("outages of the database", .timeLimit(.minutes(5))) struct OutageTests {
    private func withServer<T: Sendable>(_ body: @Sendable (PrivatePostgres) async throws -> T) async throws -> T {
        let server = try await PrivatePostgres.start(
            directory: TestServers.directory("outage-postgres"), settings: ["fsync": "off"])
        do {
            let result = try await body(server)
            try await server.stop()
            return result
        } catch {
            try await server.stop()
            throw error
        }
    }

    /// How a database becomes read-only: for all sessions at once, or only for new ones.
    enum DiskGuard: CaseIterable, Sendable {
        case reload, newSessions

        func close(_ admin: PostgresConnection) async throws {
            // The administrator's own session stays writable.
            try await admin.execute(script: "SET default_transaction_read_only = off")
            switch self {
            case .reload:
                try await admin.execute(script: "ALTER SYSTEM SET default_transaction_read_only = on")
                try await admin.query("SELECT pg_reload_conf()")
            case .newSessions:
                try await admin.execute(script: "ALTER DATABASE jobledger SET default_transaction_read_only = on")
                try await admin.query(
                    """
                    SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
                     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                    """)
            }
        }

        func open(_ admin: PostgresConnection) async throws {
            switch self {
            case .reload:
                try await admin.execute(script: "ALTER SYSTEM RESET default_transaction_read_only")
                try await admin.query("SELECT pg_reload_conf()")
            // Existing sessions keep the setting that they began with.
            case .newSessions:
                try await admin.execute(script: "ALTER DATABASE jobledger RESET default_transaction_read_only")
            }
        }
    }

    /// Appends jobs until one is answered with `status`. Until then only 201 and 503 are allowed.
    private func append(to service: TestService, until status: Int) async throws -> TestService.Answer {
        try await eventually(within: .seconds(120), "an append is answered with \(status)") {
            let answer = try await service.append(#"{"type":"queued","data":{"name":"x"}}"#, to: "job-\(UUID())")
            #expect(answer.status == 201 || answer.status == 503, "\(answer)")
            return answer.status == status ? answer : nil
        }
    }

    @Test("a read-only database is reported, and the service recovers without a restart", arguments: DiskGuard.allCases)
    func readOnly(_ diskGuard: DiskGuard) async throws {
        try await withServer { server in
            try await TestService.with(projecting: true, server: server.url) { service in
                _ = try await append(to: service, until: 201)
                let admin = try await service.ledger.connect()
                try await diskGuard.close(admin)

                let refused = try await append(to: service, until: 503)
                #expect(refused.code == "unavailable" && refused.headers["retry-after"] != nil, "\(refused)")
                #expect(
                    refused.text.contains("nothing was written") && refused.text.contains("takes no writes"),
                    "\(refused)")
                let many = try await service.ask(
                    "POST", "/v1/events", #"[{"job":"m","type":"queued","data":{"name":"x"}}]"#)
                #expect(many.status == 503 && many.code == "unavailable", "\(many)")
                try await eventually("readiness reports it") {
                    let ready = try await service.ask("GET", "/readyz", token: "")
                    return ready.status == 503 && ready.text.contains("sessions are read-only") ? () : nil
                }
                #expect(try await service.ask("GET", "/v1/events").status == 200)
                #expect(try await service.ask("GET", "/metrics").text.contains("\njobledger_log_writable 0\n"))

                try await diskGuard.open(admin)
                let written = try await append(to: service, until: 201)
                try await eventually("readiness reports the recovery") {
                    try await service.ask("GET", "/readyz", token: "").status == 200 ? () : nil
                }
                // No projection took the outage for a fault of the event that it was folding.
                let position = written.json["position"].number ?? 0
                try await eventually("the projections continue") {
                    try await service.ask("GET", "/v1/jobs?min_position=\(position)").status == 200 ? () : nil
                }
                let stopped = try await admin.query("SELECT count(*) FROM projections WHERE error IS NOT NULL").only()
                #expect(try stopped.decode(0, as: Int64.self) == 0)
                await admin.close()
            }
        }
    }

    @Test("requests under way get answers while the server is killed and restarted") func restart() async throws {
        try await withServer { server in
            try await TestService.with(server: server.url) { service in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    let over = StopSignal()
                    for _ in 0..<8 {
                        group.addTask {
                            while !over.isSet { _ = try await append(to: service, until: 201) }
                            _ = try await append(to: service, until: 201)
                        }
                    }
                    for _ in 0..<3 {
                        _ = try await append(to: service, until: 201)
                        try await server.kill()
                        try await server.restart()
                    }
                    over.set()
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("an append of many jobs that no standby confirms is reported, and answered in time") func manyJobs()
        async throws
    {
        try await StandbyDemand.with { demand in
            try await TestService.with(server: demand.url) { service in
                _ = try await append(to: service, until: 201)
                try await demand.begin()
                let id = EventID.version7().text
                let events = #"[{"job":"m","type":"queued","data":{"name":"x"},"event_id":"\#(id)"}]"#
                let began = ContinuousClock.now
                let many = Task { try await service.ask("POST", "/v1/events", events) }
                let wait = try await demand.nextWait()
                try await eventually("readiness reports it") {
                    let ready = try await service.ask("GET", "/readyz", token: "")
                    return ready.status == 503 && ready.text.contains("the oldest append has waited") ? () : nil
                }
                let metrics = try await service.ask("GET", "/metrics").text
                #expect(!metrics.contains("\njobledger_append_oldest_seconds 0\n"), "\(metrics)")

                let answer = try await many.value
                #expect(began.duration(to: .now) < .seconds(120))
                #expect(answer.status == 503 && answer.code == "outcome_unknown", "\(answer)")
                #expect(answer.json["event_ids"].elements.map(\.text) == [id])
                // The append goes on, and holds the log.
                #expect(try await demand.waiting().contains(wait))
                let ready = try await service.ask("GET", "/readyz", token: "")
                #expect(ready.status == 503 && ready.text.contains("the log has been held"), "\(ready)")

                try await demand.end()
                try await eventually("readiness reports the recovery") {
                    try await service.ask("GET", "/readyz", token: "").status == 200 ? () : nil
                }
                let again = try await service.ask("POST", "/v1/events", events)
                #expect(again.status == 200 && again.text.contains(#""duplicate":true"#), "\(again)")
            }
        }
    }

    @Test("streams stay open while the database is away, and new ones wait for it") func streams() async throws {
        try await withServer { server in
            try await TestService.with(server: server.url, settings: .changed { $0.heartbeat = .seconds(1) }) {
                service in
                try await service.ledger.queue("a")
                let unused = try await service.tokens.create([.read])
                var open = try await service.stream("/v1/jobs/a/events")
                #expect(try await open.next()?.position == 1)
                try await server.kill()

                // For longer than a look-up of the token tries to reach the server.
                try await open.skip(comments: 14)
                var late = try await service.stream("/v1/jobs/a/events")
                #expect(late.status == 200)
                try await late.skip(comments: 2)
                // Whether this token is valid was not known when the database went away.
                #expect(try await service.stream("/v1/jobs/a/events", token: unused.text).status == 503)

                try await server.restart()
                try await eventually("an append succeeds") {
                    let answer = try await service.append(#"{"type":"progress","data":{"completed":1}}"#, to: "a")
                    return answer.status == 201 ? () : nil
                }
                #expect(try await open.next()?.position == 2)
                // It ends, and the client's next request gets the events.
                #expect(try await late.next() == nil)
                var again = try await service.stream("/v1/jobs/a/events")
                #expect(try await again.next(2).map(\.position) == [1, 2])
            }
        }
    }

    @Test("the documents leave out the categories while the database is away") func documents() async throws {
        try await withServer { server in
            try await TestService.with(server: server.url) { service in
                let missing = "because the ledger could not be asked for them"
                try await server.kill()
                for path in ["/openapi.json", "/asyncapi.json"] {
                    let answer = try await service.ask("GET", path)
                    #expect(answer.status == 200 && answer.text.contains(missing), "\(answer)")
                    // Who sends no token is told of no categories in any case.
                    let stranger = try await service.ask("GET", path, token: "")
                    #expect(stranger.status == 200 && !stranger.text.contains(missing), "\(stranger)")
                }
                try await server.restart()
                try await eventually("the documents are whole again") {
                    try await service.ask("GET", "/openapi.json").text.contains(missing) ? nil : ()
                }
            }
        }
    }

    @Test("metrics say that the database is away, to a token that is known") func metrics() async throws {
        try await withServer { server in
            try await TestService.with(server: server.url) { service in
                let (unused, appender) = (
                    try await service.tokens.create([.read]), try await service.tokens.create([.append])
                )
                #expect(try await service.ask("GET", "/metrics").text.contains("\njobledger_postgres_up 1\n"))
                #expect(try await service.ask("GET", "/metrics", token: appender.text).status == 403)
                try await server.kill()

                // Until a scrape has begun when the last answer about the token was too old.
                let away = ContinuousClock.now
                var began: ContinuousClock.Instant
                repeat {
                    began = .now
                    let scraped = try await service.ask("GET", "/metrics")
                    #expect(scraped.status == 200, "\(scraped)")
                    #expect(scraped.text.contains("\njobledger_postgres_up 0\n"), "\(scraped)")
                    #expect(!scraped.text.contains("jobledger_head_position"), "\(scraped)")
                } while away.duration(to: began) <= TokenCheck.validity
                #expect(try await service.ask("GET", "/metrics", token: unused.text).status == 503)
                #expect(try await service.ask("GET", "/metrics", token: appender.text).status == 403)
                // Nothing else is answered on trust.
                #expect(try await service.ask("GET", "/v1/events").status == 503)

                try await server.restart()
                try await eventually("metrics say that it is back") {
                    try await service.ask("GET", "/metrics").text.contains("\njobledger_postgres_up 1\n") ? () : nil
                }
            }
        }
    }

    @Test("of all errors of the server, only defects in the program are a 500") func dispositions() throws {
        let versions = try FileManager.default.contentsOfDirectory(atPath: "/usr/share/postgresql")
        let codes = try versions.map { "/usr/share/postgresql/\($0)/errcodes.txt" }
            .filter { FileManager.default.fileExists(atPath: $0) }
            .flatMap { try String(contentsOfFile: $0, encoding: .utf8).split(separator: "\n") }
            .filter { $0.wholeMatch(of: /[0-9A-Z]{5} .*/) != nil }.map { String($0.prefix(5)) }
        #expect(codes.count > 200)
        for code in codes {
            var error = PostgresError(.server, "secret.example")
            error.sqlState = SQLState(code)
            expectAnswer(to: error, isDefect: error.disposition == .defect)
        }
        for kind in [PostgresError.Kind.cannotConnect, .connectionLost, .timedOut, .cancelled, .busy, .closed] {
            expectAnswer(to: PostgresError(kind, "secret.example"), isDefect: false)
        }
        for kind in [PostgresError.Kind.decoding, .usage] { expectAnswer(to: PostgresError(kind, "x"), isDefect: true) }
        for error in [CancellationError(), OutcomeUnknown(reason: "x")] as [any Error] {
            expectAnswer(to: error, isDefect: false)
        }
    }

    private func expectAnswer(to error: any Error, isDefect: Bool) {
        let problem = Problem(error)
        guard !isDefect else {
            #expect(problem == nil, "\(error)")
            return
        }
        #expect(problem?.status == .serviceUnavailable && problem?.headers[.retryAfter] != nil, "\(error)")
        #expect(problem?.detail.contains("secret") == false)
    }
}
