import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Testing

@testable import LedgerServer

@Suite("connections of clients that are hostile or have gone") struct ConnectionTests {
    @Test("a second request whose body never arrives times out like the first") func secondBody() async throws {
        try await TestService.with(settings: .changed { ($0.request, $0.idle) = (.seconds(2), .seconds(3600)) }) {
            service in
            let raw = try RawConnection(service.url)
            try raw.send(RawRequest.livez + RawRequest.append(service.token, "content-length: 1000000"))
            let answers = try await raw.answer()
            #expect(answers.hasPrefix("HTTP/1.1 200 ") && answers.contains("HTTP/1.1 408 "), "\(answers)")
            // The same for a request that was answered before its body arrived.
            let early = try RawConnection(service.url)
            try early.send(RawRequest.livez + RawRequest.append("no", "content-length: 1000"))
            #expect(try await early.answer().contains("HTTP/1.1 401 "))
        }
    }

    @Test("requests after an invalid one are not answered, those before it are")
    func brokenSecond()
        async throws
    {
        try await TestService.with { service in
            let raw = try RawConnection(service.url)
            try raw.send(RawRequest.livez + "nonsense\r\n\r\n" + RawRequest.livez)
            let answers = try await raw.answer()
            #expect(answers.hasPrefix("HTTP/1.1 200 ") && answers.contains("HTTP/1.1 400 "), "\(answers)")
            #expect(answers.components(separatedBy: "HTTP/1.1 ").count == 3, "\(answers)")
        }
    }

    @Test("only a connection that has sent a valid token keeps its place") func unauthenticated() async throws {
        try await TestService.with(settings: .changed { $0.connections = 4 }) { service in
            // Each gets an answer, and stays open.
            let unauthenticated = try (0..<4).map { _ in try RawConnection(service.url) }
            for (number, raw) in unauthenticated.enumerated() {
                try raw.send(
                    number.isMultiple(of: 2)
                        ? RawRequest.livez : RawRequest.get("/v1/jobs", "jl_wrong"))
                _ = try await raw.answer(until: "}")
            }
            var known: [RawConnection] = []
            for _ in 0..<4 {
                let raw = try RawConnection(service.url)
                try raw.send(RawRequest.get("/v1/events", service.token))
                #expect(try await raw.answer(until: "}").hasPrefix("HTTP/1.1 200 "))
                known.append(raw)
            }
            for raw in unauthenticated { #expect(try await raw.answer() == "") }
            let refused = try RawConnection(service.url)
            #expect(try await refused.answer().contains("\"too_many_connections\""))
        }
    }

    @Test("a connection with a revoked token loses its place, whatever requests it sends") func revoked() async throws {
        try await TestService.with(settings: .changed { ($0.connections, $0.idle) = (4, .seconds(3600)) }) { service in
            let token = try await service.tokens.create([.read])
            let held = try (0..<4).map { _ in try RawConnection(service.url) }
            for raw in held {
                try raw.send(RawRequest.get("/v1/events", token.text))
                #expect(try await raw.answer(until: "}").hasPrefix("HTTP/1.1 200 "))
            }
            #expect(try await RawConnection(service.url).answer().contains("\"too_many_connections\""))
            #expect(try await service.tokens.revoke(token.id))
            _ = try await eventually("a connection with a valid token gets a place") {
                for raw in held { try? raw.send(RawRequest.livez) }
                let honest = try RawConnection(service.url)
                try? honest.send(
                    RawRequest.get("/v1/events", service.token, "connection: close")
                )
                return try await honest.answer().hasPrefix("HTTP/1.1 200 ") ? true : nil
            }
        }
    }

    @Test("a client that reads slowly gets all of a large answer; one that does not read is cut off") func slowReader()
        async throws
    {
        // The answer is larger than the kernel's buffers.
        try await TestService.with(settings: .changed { $0.idle = .seconds(8) }) { service in
            try await service.ledger.queue("a")
            for size in [3 << 20, 8_000_000] {
                let event = NewEvent(
                    type: "progress", data: #"{"completed":1,"message":"\#(String(repeating: "x", count: size))"}"#)
                _ = try await service.ledger.store.append(event, to: "a")
            }
            let get = RawRequest.get("/v1/events", service.token)
            let never = try RawConnection(service.url, receiveBuffer: 64 << 10)
            try never.send(get)
            let slow = try RawConnection(service.url, receiveBuffer: 64 << 10)
            try slow.send(get)
            var got = 0
            while got < 11_000_000 {
                let count = try await slow.receive(atMost: 40_000)
                guard count > 0 else { break }
                got += count
                // At this rate the whole answer takes several times the limit.
                try await Task.sleep(for: .milliseconds(100))
            }
            #expect(got >= 11_000_000, "it was cut off after \(got) bytes")
            // By now the other connection is closed, with part of its answer.
            var rest = 0
            while case let count = try await never.receive(atMost: 1 << 20), count > 0 { rest += count }
            #expect(rest < 11_000_000)
        }
    }

    @Test("a body that was cut off is not taken for a complete one", arguments: [true, false]) func cutOff(
        isReset: Bool
    )
        async throws
    {
        try await TestService.with { service in
            let event = #"{"type":"queued","data":{"name":"x"}}"#
            for _ in 0..<20 {
                let raw = try RawConnection(service.url)
                try raw.send(RawRequest.append(service.token, "transfer-encoding: chunked"))
                try raw.send("\(String(event.utf8.count, radix: 16))\r\n\(event)\r\n")
                if isReset { raw.reset() } else { raw.close() }
            }
            try await service.expectNothingHeld()
            #expect(try await service.ledger.count() == 0)
        }
    }

    @Test("a client that closes its output still gets its answers") func halfClosed() async throws {
        try await TestService.with { service in
            let raw = try RawConnection(service.url)
            try raw.send(RawRequest.livez + RawRequest.livez)
            raw.endSending()
            #expect(try await raw.answer().components(separatedBy: "HTTP/1.1 200 ").count == 3)
        }
    }

    /// Requests of every route, cut into pieces between which a client may disconnect.
    private static func requests(_ service: TestService) async throws -> [[String]] {
        try await TokenTests.operations(service).flatMap { method, path, scope -> [[String]] in
            let isAppend = method == "POST"
            let path = path.replacing("{path}", with: "0/000")
            let body = path.hasPrefix("/v1/jobs/") ? #"{"type":"progress"}"# : #"[{"job":"b","type":"progress"},{}]"#
            func request(_ query: String = "", _ more: String = "") -> [String] {
                let length = isAppend ? "content-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n" : ""
                let head =
                    "\(method) \(path)\(query) HTTP/1.1\r\nhost: x\r\n"
                    + "authorization: Bearer \(service.token)\r\n\(length)\(more)\r\n"
                return [String(head.prefix(20)), String(head.dropFirst(20)), isAppend ? String(body.prefix(9)) : ""]
                    + (isAppend ? [String(body.dropFirst(9))] : [])
            }
            if isAppend { return [request(), request("", "expect: 100-continue\r\n")] }
            let isEvents = path.hasSuffix("/events") && scope == .read && !path.contains("audit")
            return [request()]
                + (isEvents ? [request("", "accept: text/event-stream\r\n")] : [])
                + (path == "/v1/jobs" ? [request("?min_position=9999")] : [])
        }
    }

    @Test("clients that disconnect at any step of any request leave nothing behind", .timeLimit(.minutes(10)))
    func resets() async throws {
        let settings = HTTPSettings.changed {
            ($0.wait, $0.read, $0.heartbeat) = (.seconds(300), .seconds(300), .seconds(1))
        }
        try await TestService.with(settings: settings) { service in
            for job in 0..<100 { try await service.ledger.queue(job == 0 ? "a" : "job-\(job)") }
            let requests = try await Self.requests(service)
            var count = 0
            for round in 0..<25 {
                for request in requests {
                    for step in 1...request.count + 1 {
                        let raw = try RawConnection(service.url)
                        for piece in request.prefix(step) { try raw.send(piece) }
                        // The client may have received a part of the answer.
                        if step > request.count, !request.joined().contains("min_position") {
                            _ = try await raw.answer(until: "HTTP/1.1 ")
                        }
                        if round.isMultiple(of: 3) { raw.close() } else { raw.reset() }
                        count += 1
                    }
                }
            }
            print("\(count) connections were dropped")
            #expect(count > 2000)
            try await service.expectNothingHeld()
        }
    }
}

extension TestService {
    /// Waits until the service holds nothing for any request but the one that asks for the metrics.
    func expectNothingHeld() async throws {
        let expected = [
            "jobledger_subscribers 0", "jobledger_http_body_bytes 0", "jobledger_http_requests_under_way 1",
            "jobledger_http_reads_under_way 1", "jobledger_append_requests_waiting 0",
        ]
        var last: [Substring] = []
        do {
            _ = try await eventually("nothing is held") {
                let raw = try RawConnection(url)
                try raw.send(
                    RawRequest.get("/metrics", token, "connection: close"))
                let lines = Set(try await raw.answer().split(separator: "\n"))
                last = lines.filter { line in expected.contains { line.hasPrefix($0.prefix { $0 != " " }) } }.sorted()
                return expected.allSatisfy { lines.contains(Substring($0)) } ? true : nil
            }
        } catch {
            Issue.record("something is held: \(last)")
            throw error
        }
    }
}
