import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

/// Numbers at the ends of their ranges, for every parameter of every route of the OpenAPI document.
/// The service answers, never with a server error, and continues. A trap would end this process.
@Suite(.timeLimit(.minutes(10))) struct NumberEndsTests {
    private struct Parameter {
        var name: String
        var place: String
    }

    private struct Operation {
        var path: String
        var parameters: [Parameter]
    }

    /// The readable operations of the OpenAPI document.
    private func operations(_ document: JSON) -> [Operation] {
        document["paths"].members.sorted { $0.key < $1.key }.compactMap { path, item in
            guard !item["get"].isNull else { return nil }
            let parameters = (item["parameters"].elements + item["get"]["parameters"].elements).map { parameter in
                parameter["$ref"].text.map {
                    document["components"]["parameters"][String($0.split(separator: "/").last ?? "")]
                }
                    ?? parameter
            }
            return Operation(
                path: path,
                parameters: parameters.map { Parameter(name: $0["name"].text ?? "", place: $0["in"].text ?? "") })
        }
    }

    private static func encoded(_ text: String) -> String { Query.encoded(text) }

    private func filled(_ service: TestService) async throws {
        for body in [
            #"{"type":"queued","data":{"name":"n","total":5}}"#, #"{"type":"progress","data":{"completed":1}}"#,
        ] {
            #expect(try await service.append(body, to: "a").status == 201)
        }
    }

    @Test func everyParameterOfEveryRoute() async throws {
        let settings = HTTPSettings.changed { $0.wait = .milliseconds(1) }
        try await TestService.with(projecting: true, settings: settings) { service in
            try await filled(service)
            let operations = operations(try await service.ask("GET", "/openapi.json", token: "").json)
            #expect(operations.reduce(0) { $0 + $1.parameters.count } > 40)
            for operation in operations {
                for parameter in operation.parameters {
                    for end in NumberEnds.all {
                        let answer = try await ask(service, operation, parameter, end)
                        let what = "\(operation.path) \(parameter.name)=\(end): \(answer)"
                        // The service waits for a position that does not exist yet.
                        #expect(answer.status < 500 || answer.code == "not_projected_yet", "\(what)")
                        if answer.status >= 400 { #expect(answer.json["detail"].text?.isEmpty == false, "\(what)") }
                    }
                }
            }
            #expect(try await service.ask("GET", "/livez", token: "").status == 200)
        }
    }

    private func ask(
        _ service: TestService, _ operation: Operation, _ parameter: Parameter, _ end: String
    ) async throws -> TestService.Answer {
        var path = operation.path
        var headers: [String: String] = [:]
        switch parameter.place {
        case "path": path = path.replacing("{\(parameter.name)}", with: Self.encoded(end))
        case "query": path += "?\(parameter.name)=\(Self.encoded(end))"
        default:
            headers[parameter.name] = String(
                end.utf8.filter { $0 >= 0x20 && $0 < 0x7F }.map { Character(Unicode.Scalar($0)) })
        }
        for (name, value) in [("id", "a"), ("category", "job"), ("path", "0/000")] {
            path = path.replacing("{\(name)}", with: value)
        }
        return try await service.ask("GET", path, headers: headers)
    }

    @Test(arguments: [
        "tile/0/", "tile/7/", "tile/8/", "tile/entries/", "tile/-1/", "tile/9223372036854775807/", "tile/٣/",
    ])
    func tiles(_ prefix: String) async throws {
        try await TestService.with { service in
            for path in [
                "x999/x999/x999/x999/x999/999", "x999/x999/x999/x999/x999/x999/x999/999",
                "x018/x014/x398/x509/x481/983",
                "x009/x223/x372/x036/x854/x775/807", "000.p/255", "000.p/9223372036854775807", "000.p/-1", "x٣٣٣/000",
                "000",
            ] {
                let answer = try await service.ask("GET", "/v1/audit/\(prefix)\(path)")
                #expect(answer.status == 404 && answer.code == "unknown_tile", "\(path): \(answer)")
            }
        }
    }

    /// A stream begins or is refused.
    @Test(arguments: ["/v1/events", "/v1/jobs/a/events"]) func streams(_ path: String) async throws {
        try await TestService.with { service in
            try await filled(service)
            for name in ["after", "last_event_id", "conflate"] {
                for end in NumberEnds.all {
                    let stream = try await service.stream("\(path)?\(name)=\(Self.encoded(end))")
                    #expect(
                        stream.status == 200 || stream.status == 400 || stream.status == 409,
                        "\(name)=\(end): \(stream.status)")
                }
            }
            for end in NumberEnds.all where end.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
                let stream = try await service.stream(path, headers: ["Last-Event-ID": end])
                #expect(
                    stream.status == 200 || stream.status == 400 || stream.status == 409,
                    "Last-Event-ID \(end): \(stream.status)"
                )
            }
            #expect(try await service.ask("GET", "/livez", token: "").status == 200)
        }
    }

    private static let templates = [
        #"{"type":"progress","data":{"completed":1},"expected_version":?}"#,
        #"{"type":"progress","data":{"completed":?}}"#,
        #"{"type":"progress","data":{"completed":1,"total":?}}"#,
        #"{"type":"progress","data":{"completed":1,"runs":[{"run_index":?}]}}"#,
        #"{"type":"progress","data":{"completed":1},"occurred_at":"?"}"#,
        #"{"type":"truncated","data":{"reason":"r","limit":?}}"#,
        #"{"type":"truncated","data":{"reason":"r","dropped":?}}"#, #"{"type":"queued","data":{"name":"n","total":?}}"#,
        #"{"type":"queued","data":{"name":"n","variables":[{"name":"v","count":?},{"name":"w","count":?}]}}"#,
    ]

    @Test(arguments: templates) func numbersInBodies(_ template: String) async throws {
        try await TestService.with { service in
            try await filled(service)
            for end in NumberEnds.all {
                let body = template.replacing("?", with: end)
                let answer = try await service.append(body, to: "a")
                #expect(answer.status < 500, "\(body): \(answer)")
                let bulk = try await service.ask("POST", "/v1/events", #"[{"job":"b",\#(body.dropFirst())]"#)
                #expect(bulk.status < 500, "\(body): \(bulk)")
            }
            #expect(try await service.ask("GET", "/livez", token: "").status == 200)
        }
    }

    /// Extreme times, which an owner or a projector can write into the tables, do not break the
    /// pages that show them.
    @Test func extremeTimesAreShown() async throws {
        try await TestService.with(projecting: true) { service in
            try await filled(service)
            #expect(try await service.ask("GET", "/v1/audit/events?min_position=2").status == 200)
            let owner = try await service.ledger.connect()
            try await owner.execute(
                script: """
                    UPDATE audit_log SET recorded_at = 'infinity', occurred_at = '-infinity' WHERE position = 1;
                    UPDATE audit_log SET version = -2147483648, recorded_at = '4713-01-01 BC' WHERE position = 2;
                    """)
            for (first, last) in [("-infinity", "infinity"), ("now", "infinity"), ("4713-01-01 BC", "294276-12-31")] {
                await #expect(throws: PostgresError.self, "a refusal with such a time is not recorded") {
                    try await owner.query(
                        """
                        INSERT INTO refusals (first_at, last_at, times, method, path, code, detail)
                        VALUES ($1::text::timestamptz, $2::text::timestamptz, 1, 'POST', '/', 'x', 'y')
                        """, first, last)
                }
            }
            await owner.close()
            let events = try await service.ask("GET", "/v1/audit/events?order=oldest")
            #expect(events.json["events"][0]["recorded_at"].text == "9999-12-31T23:59:59.999999Z", "\(events)")
            #expect(events.json["events"][0]["occurred_at"].text == "0000-01-01T00:00:00Z")
            let refusals = try await service.ask("GET", "/v1/audit/refusals?order=oldest")
            #expect(refusals.status == 200 && refusals.json["refusals"].elements.isEmpty, "\(refusals)")
            for path in [
                "/v1/audit/events/1/why", "/metrics", "/v1/jobs/a", "/v1/audit/events?from=9999-12-31T23:59:59.999999Z",
            ] {
                #expect(try await service.ask("GET", path).status == 200, "\(path)")
            }
        }
    }
}
