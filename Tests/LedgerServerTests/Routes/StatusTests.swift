import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer
@testable import Projections

@Suite("status and receipts over HTTP") struct StatusTests {
    @Test("how far each part has come, and the age of what it has not done") func status() async throws {
        try await TestService.with { service in
            let ledger = service.ledger
            let empty = try await service.ask("GET", "/v1/status")
            #expect(empty.status == 200 && empty.json["head"].number == 0, "\(empty)")
            #expect(empty.json["append_rate"].number == 0 && empty.json["relay"].members["oldest_unfolded_at"] == nil)
            for job in ["a", "b", "c"] { try await ledger.queue(job) }
            let connection = try await ledger.connect()
            try await connection.query(
                """
                INSERT INTO projections (name, definition, position, state, failed_position, failed_event, error)
                SELECT 'broken', 'd', 1, 'stopped', 2, event_id, 'it does not fit' FROM events WHERE position = 2
                """)
            try await connection.query("INSERT INTO projections (name, definition, position) VALUES ('done', 'd', 3)")
            let events = try await ledger.store.page(EventQuery())
            var stream = try await service.stream("/v1/jobs/a/events")
            _ = try await stream.next()

            let answer = try await service.ask("GET", "/v1/status")
            let status = answer.json
            #expect(answer.status == 200 && answer.headers["ledger-position"] == "3", "\(answer)")
            #expect(status["head"].number == 3 && status["role"].text == "primary" && status["lost_events"].number == 0)
            #expect(status["append_rate"].value as? Double == 0.05, "\(answer)")
            for reader in [status["relay"], status["seal"]] {
                #expect(reader["position"].number == 0 && reader["lag"].number == 3 && reader["active"].bool == false)
                #expect(reader["oldest_unfolded_at"].text == events[0].recordedAt.description, "\(answer)")
            }
            let (broken, done) = (status["projections"][0], status["projections"][1])
            #expect(broken["name"].text == "broken" && broken["state"].text == "stopped", "\(answer)")
            #expect(broken["oldest_unfolded_at"].text == events[1].recordedAt.description)
            #expect(broken["error"].text == "it does not fit" && broken["failed_position"].number == 2)
            #expect(broken["failed_event"].text == events[1].id.text)
            #expect(
                done["lag"].number == 0 && done.members["oldest_unfolded_at"] == nil && done["active"].bool == false)
            #expect(status["streams"]["open"].number == 1 && status["streams"]["gaps_detected"].number == 0)
            #expect(try await service.ask("GET", "/v1/status?x=1").status == 400)
            await connection.close()
        }
    }

    @Test("the command and the service say the same") func sameReport() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            let connection = try await service.ledger.connect()
            let report = try await StatusReport.load(service.ledger.name, on: connection)
            await connection.close()
            let said = JSON(try JSONSerialization.jsonObject(with: Data(try ReportJSON.bytes(report))))
            let answer = try await service.ask("GET", "/v1/status")
            #expect(Set(answer.json.members.keys) == Set(said.members.keys).union(["streams"]), "\(answer)")
        }
    }

    @Test("while the log's times are ahead of the clock, the rate is not known") func clock() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            let connection = try await service.ledger.connect()
            try await connection.execute(
                script: """
                    ALTER TABLE events DISABLE TRIGGER events_append_only;
                    UPDATE events SET recorded_at = clock_timestamp() + interval '1 hour';
                    ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only
                    """)
            await connection.close()
            let answer = try await service.ask("GET", "/v1/status")
            #expect(answer.status == 200 && answer.json.members["append_rate"] == nil, "\(answer)")
            #expect((3000...3600).contains(answer.json["clock_ahead_seconds"].number ?? 0))
        }
    }

    @Test("an unfinished rebuild that a process works on has a rate and a time left") func rebuild() async throws {
        try await TestService.with { service in
            let connection = try await service.ledger.connect()
            try await connection.execute(
                script: """
                    INSERT INTO rebuilds (projection, definition, slices, goal, indexes, started_by, started_at)
                    VALUES ('x', 'd', 1, 1000, '{}', 'ada', clock_timestamp() - interval '100 s');
                    INSERT INTO rebuild_slices (rebuild, slice, goal, position) SELECT id, 0, 1000, 500 FROM rebuilds
                    """)
            let idle = try await service.ask("GET", "/v1/status").json["rebuilds"][0]
            #expect(idle["active"].bool == false && idle.members["rate"] == nil && idle.members["seconds_left"] == nil)
            #expect(idle["position"].number == 500 && idle["goal"].number == 1000, "\(idle)")
            try await connection.query(
                "SELECT pg_advisory_lock(hashtextextended($1 || 'x', 0))", ReplayLock.rebuildPrefix(service.ledger.name)
            )
            let busy = try await service.ask("GET", "/v1/status").json["rebuilds"][0]
            let (rate, left) = (busy["rate"].value as? Double ?? 0, busy["seconds_left"].value as? Double ?? 0)
            #expect(busy["active"].bool == true && rate > 2 && rate <= 5 && left >= 99 && left < 250, "\(busy)")
            await connection.close()
        }
    }

    @Test("what projectors write about themselves is limited") func hostile() async throws {
        try await TestService.with { service in
            let connection = try await service.ledger.connect()
            try await connection.query(
                """
                INSERT INTO projections (name, definition, state, error)
                SELECT $1 || n || repeat('y', 10000), 'd', 'stopped', repeat('z', 200000)
                  FROM generate_series(1, 20) AS n
                """, "x\",\"ok\":{\n")
            await connection.close()
            let answer = try await service.ask("GET", "/v1/status")
            #expect(answer.status == 200 && answer.body.count < 200_000, "\(answer.body.count)")
            #expect(answer.json["projections"].elements.count == 20)
        }
    }

    @Test("while the database is away, the answer says what is known") func outage() async throws {
        let server = try await PrivatePostgres.start(
            directory: TestServers.directory("status-postgres"), settings: ["fsync": "off"])
        do {
            try await TestService.with(server: server.url) { service in
                #expect(try await service.ask("GET", "/v1/status").status == 200)
                try await server.kill()
                let answer = try await service.ask("GET", "/v1/status")
                #expect(answer.status == 503 && answer.code == "unavailable", "\(answer)")
                let checks = answer.json["checks"].elements
                #expect(checks.map { $0["name"].text } == ["service", "postgres"], "\(answer)")
                #expect(checks.map { $0["ready"].bool } == [true, false])
                #expect(answer.json["streams"]["open"].number == 0)
                try await server.restart()
                try await eventually("the report is whole again") {
                    try await service.ask("GET", "/v1/status").status == 200 ? () : nil
                }
            }
            try await server.stop()
        } catch {
            try? await server.stop()
            throw error
        }
    }

    @Test("receipts, newest first, in pages") func receipts() async throws {
        try await TestService.with { service in
            let none = try await service.ask("GET", "/v1/receipts")
            #expect(none.text == #"{"receipts":[],"next":null}"#, "\(none)")
            let connection = try await service.ledger.connect()
            for (number, projection) in [(1, "one"), (2, "two"), (3, "one")] {
                try await connection.query(
                    "SELECT record_receipt($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                    "verify", projection, "d", Int64(0), Int64(number), String(repeating: "a", count: 64),
                    String(repeating: number == 3 ? "b" : "a", count: 64), Int64(7), 1.23456, Int32(1), Int64(1000),
                    Double?.none, "ada <b>")
            }
            await connection.close()
            let all = try await service.ask("GET", "/v1/receipts")
            let receipts = all.json["receipts"].elements
            #expect(
                receipts.map { $0["projection"].text } == ["one", "two", "one"] && all.json["next"].isNull, "\(all)")
            #expect(receipts[0]["equal"].bool == false && receipts[1]["equal"].bool == true)
            #expect(receipts[0]["made_by"].text == "ada <b>" && receipts[0]["seconds"].value as? Double == 1.235)
            #expect(receipts[0]["rows"].number == 3 && receipts[0].members["blocked_ms"] == nil, "\(all)")
            let page = try await service.ask("GET", "/v1/receipts?limit=2")
            let next = try #require(page.json["next"].text)
            #expect(try await service.ask("GET", next).json["receipts"].elements.map { $0["rows"].number } == [1])
            let one = try await service.ask("GET", "/v1/receipts?projection=one&limit=1")
            #expect(one.json["receipts"].elements.map { $0["rows"].number } == [3], "\(one)")
            let more = try await service.ask("GET", try #require(one.json["next"].text))
            #expect(more.json["receipts"].elements.map { $0["rows"].number } == [1], "\(more)")
            #expect(try await service.ask("GET", "/v1/receipts?projection=%27--").json["receipts"].elements.isEmpty)
            for bad in ["limit=0", "limit=1001", "after=0", "after=x", "job=a"] {
                #expect(try await service.ask("GET", "/v1/receipts?\(bad)").status == 400, "\(bad)")
            }
        }
    }
}
