import EventStore
import LedgerCore
import LedgerSettings
import LedgerTesting
import Postgres
import Projections
import Testing

@Suite("rows of streams over HTTP") struct StreamRowTests {
    /// A service with two events of the member `u 1`, and one of a plan.
    private func withRows(
        _ projections: [ProjectionDefinition], settings: HTTPSettings = HTTPSettings(),
        _ body: @Sendable (TestService) async throws -> Void
    ) async throws {
        try await TestService.with(projecting: true, projections: projections, settings: settings) { service in
            let owner = try await service.ledger.connect()
            try await TestProjections.installCategories(on: owner)
            for (category, stream, type, data) in [
                ("member", "u 1", "registered", #"{"email": "a@example.org"}"#),
                ("member", "u 1", "updated", #"{"email": "b@example.org"}"#),
                ("plan", "s", "saved", #"{"user_id": "u 1"}"#),
            ] {
                #expect(Int(try await TestCategories.append(category, stream, type, data, on: owner)) != nil)
            }
            await owner.close()
            try await body(service)
        }
    }

    @Test("a row as it is now, and as it was") func row() async throws {
        try await withRows([try TestProjections.members()]) { service in
            let path = "/v1/streams/member/u%201"
            let now = try await service.ask("GET", path + "?min_position=2")
            #expect(now.status == 200, "\(now)")
            #expect(now.text == #"{"id":"u 1","email":"b@example.org","events":2}"#)
            #expect(now.headers["ledger-position"].flatMap { Int($0) } ?? 0 >= 2, "\(now)")
            let then = try await service.ask("GET", path + "?at=1")
            #expect(then.text == #"{"id":"u 1","email":"a@example.org","events":1}"#, "\(then)")
            #expect(then.headers["ledger-position"] == "1")
            let named = try await service.ask("GET", path + "?read_model=member_rows")
            #expect(named.text == now.text, "\(named)")
            for bad in [
                "at=-1", "at=soon", "min_position=x", "at=1&min_position=1", "read_model=batch_jobs", "readmodel=x",
            ] {
                let answer = try await service.ask("GET", "\(path)?\(bad)")
                #expect(answer.status == 400 && answer.code == "invalid_request", "\(bad): \(answer)")
            }
        }
    }

    @Test("a job is a stream too") func job() async throws {
        try await TestService.with(projecting: true) { service in
            let position = try await service.ledger.queue("a", total: 10).position
            let job = try await service.ask("GET", "/v1/streams/job/a?min_position=\(position)")
            #expect(job.status == 200 && job.json["total"].number == 10, "\(job)")
            #expect(try await service.ask("GET", "/v1/streams/job/a?at=\(position)").json["total"].number == 10)
        }
    }

    @Test("what is not there is told apart") func unknown() async throws {
        try await withRows([try TestProjections.members()]) { service in
            for (query, position) in [("", nil), ("?at=1", "1")] {
                let unknown = try await service.ask("GET", "/v1/streams/member/u-9\(query)")
                #expect(unknown.status == 404 && unknown.code == "unknown_job", "\(unknown)")
                let said = unknown.headers["ledger-position"]
                #expect(said != nil && (position == nil || said == position), "\(unknown)")
            }
            let early = try await service.ask("GET", "/v1/streams/member/u%201?at=0")
            #expect(early.status == 404 && early.code == "unknown_job" && early.headers["ledger-position"] == "0")
            // No read model shows plans here.
            let plan = try await service.ask("GET", "/v1/streams/plan/s")
            #expect(plan.status == 404 && plan.code == "not_found", "\(plan)")
            // There is no such category at all.
            let nothing = try await service.ask("GET", "/v1/streams/nothing/s")
            #expect(nothing.status == 400 && nothing.code == "invalid_request", "\(nothing)")
            let malformed = try await service.ask("GET", "/v1/streams/Nothing/s")
            #expect(malformed.status == 400 && malformed.code == "invalid_request", "\(malformed)")
        }
    }

    @Test("the past of rows that depend on the whole log is refused with the command that makes it") func log()
        async throws
    {
        try await withRows([try TestProjections.plans()]) { service in
            let now = try await service.ask("GET", "/v1/streams/plan/s?min_position=3")
            #expect(now.text == #"{"id":"s","email":null,"events":1}"#, "\(now)")
            let past = try await service.ask("GET", "/v1/streams/plan/s?at=3")
            #expect(past.status == 400 && past.code == "invalid_request", "\(past)")
            #expect(past.text.contains("jobledger rebuild plan_rows --until POSITION"), "\(past)")
        }
    }

    @Test("a wait for a position that is not reached ends with the position that is") func behind() async throws {
        let settings = HTTPSettings.changed { $0.wait = .seconds(1) }
        try await withRows([try TestProjections.members()], settings: settings) { service in
            _ = try await service.ask("GET", "/v1/streams/member/u%201?min_position=2")
            let answer = try await service.ask("GET", "/v1/streams/member/u%201?min_position=50")
            #expect(answer.status == 503 && answer.code == "not_projected_yet", "\(answer)")
            #expect(answer.json["min_position"].number == 50, "\(answer)")
        }
    }

    @Test("where several read models show a category, the request names one") func several() async throws {
        let projections = [try TestProjections.members(), try TestProjections.members("member_counts")]
        try await withRows(projections) { service in
            let unnamed = try await service.ask("GET", "/v1/streams/member/u%201")
            #expect(unnamed.status == 400 && unnamed.code == "invalid_request", "\(unnamed)")
            #expect(unnamed.text.contains("member_rows") && unnamed.text.contains("member_counts"), "\(unnamed)")
            for name in ["member_rows", "member_counts"] {
                let row = try await service.ask("GET", "/v1/streams/member/u%201?min_position=2&read_model=\(name)")
                #expect(row.status == 200 && row.json["events"].number == 2, "\(row)")
            }
            let other = try await service.ask("GET", "/v1/streams/member/u%201?read_model=nothing")
            #expect(other.status == 400 && other.text.contains("member_counts"), "\(other)")
        }
    }
}
