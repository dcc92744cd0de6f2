import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Testing

@testable import LedgerServer

@Suite("limits of the HTTP service") struct LimitTests {
    @Test("a body that is too large is refused before it is read, or as soon as it exceeds the limit") func largeBody()
        async throws
    {
        try await TestService.with(settings: .changed { $0.bodyBytes = 4096 }) { service in
            let body = #"{"type":"queued","data":{"name":"x","y":"\#(String(repeating: "y", count: 5000))"}}"#
            let refused = try await service.append(body, to: "a")
            #expect(refused.status == 413 && refused.code == "too_large" && refused.headers["connection"] == "close")
            // Announced, but never sent.
            let raw = try RawConnection(service.url)
            try raw.send(
                RawRequest.append(service.token, "content-length: 5000000000")
            )
            #expect(try await raw.answer().hasPrefix("HTTP/1.1 413 "))
            let chunked = try RawConnection(service.url)
            try chunked.send(
                RawRequest.append(service.token, "transfer-encoding: chunked")
            )
            for _ in 0..<3 { try chunked.send("800\r\n\(String(repeating: " ", count: 0x800))\r\n") }
            #expect(try await chunked.answer().hasPrefix("HTTP/1.1 413 "))
            #expect(try await service.ledger.count() == 0)
        }
    }

    @Test("a client that asks before sending its body is told to continue, or refused") func expectContinue()
        async throws
    {
        try await TestService.with(settings: .changed { $0.bodyBytes = 4096 }) { service in
            let body = #"{"type":"queued","data":{"name":"x"}}"#
            func head(_ token: String, _ length: Int) -> String {
                RawRequest.append(token, "expect: 100-continue", "content-length: \(length)", "connection: close")
            }
            let raw = try RawConnection(service.url)
            try raw.send(head(service.token, body.utf8.count))
            #expect(try await raw.answer(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100 "))
            try raw.send(body)
            #expect(try await raw.answer().contains("HTTP/1.1 201 "))
            let wrong = try RawConnection(service.url)
            try wrong.send(head("no", body.utf8.count))
            #expect(try await wrong.answer(until: "\r\n\r\n").hasPrefix("HTTP/1.1 401 "))
            let large = try RawConnection(service.url)
            try large.send(head(service.token, 5000))
            #expect(try await large.answer(until: "\r\n\r\n").hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test("all bodies together have a limit") func budget() async throws {
        // One token gets half of it.
        try await TestService.with(settings: .changed { ($0.bodyBytes, $0.bufferBytes) = (1 << 20, 2 << 20) }) {
            service in
            func begin() throws -> RawConnection {
                let raw = try RawConnection(service.url)
                try raw.send(
                    RawRequest.append(service.token, "content-length: 700001")
                )
                try raw.send(String(repeating: " ", count: 700_000))
                return raw
            }
            let first = try begin()
            _ = try await eventually("the first body is held") {
                try await service.ask("GET", "/metrics").text.contains("jobledger_http_body_bytes 700000") ? true : nil
            }
            let second = try begin()
            #expect(try await second.answer(until: "}").hasPrefix("HTTP/1.1 503 "))
            try first.send("x")
            #expect(try await first.answer(until: "}").hasPrefix("HTTP/1.1 400 "))
            _ = try await eventually("its memory is released") {
                try await service.ask("GET", "/metrics").text.contains("jobledger_http_body_bytes 0\n") ? true : nil
            }
        }
    }

    @Test("a token that does not read its answers leaves room for others' bodies and answers") func share() async throws
    {
        try await TestService.with(settings: .changed { ($0.bodyBytes, $0.bufferBytes) = (4 << 20, 20 << 20) }) {
            service in
            try await service.ledger.queue("a")
            // Pages of 4.9 MB.
            for _ in 0..<2 {
                let event = NewEvent(
                    type: "progress", data: #"{"completed":1,"message":"\#(String(repeating: "x", count: 2_450_000))"}"#
                )
                _ = try await service.ledger.store.append(event, to: "a")
            }
            let greedy = try await service.tokens.create([.read])
            var unread: [RawConnection] = []
            _ = try await eventually("the token is refused more") {
                let raw = try RawConnection(service.url, receiveBuffer: 64 << 10)
                try raw.send(RawRequest.get("/v1/events", greedy.text))
                // Each request gets at least the head of an answer.
                let status = try await raw.answer(until: "HTTP/1.1 ")
                unread.append(raw)
                return status.contains("503 ") ? true : nil
            }
            let body =
                #"{"type":"progress","data":{"completed":1,"message":"\#(String(repeating: "x", count: 3_000_000))"}}"#
            #expect(try await service.append(body, to: "a").status == 201)
            #expect(try await service.ask("GET", "/v1/events").status == 200)
        }
    }

    @Test("memory is shared: no token takes all that is left") func sharedBytes() {
        let shared = SharedBytes(total: 100, minimum: 10)
        func fill(_ token: TokenID) -> Int {
            var own = 0
            while shared.take(1, for: token) { own += 1 }
            return own
        }
        let first = fill("a")
        #expect(first == 50)
        let second = fill("b")
        #expect(second == 25 && fill("a") == 0)
        // The minimum in any case.
        #expect(fill("c") == 12 && fill("d") == 10)
        #expect(shared.held == 97)
        shared.giveBack(50, of: "a")
        #expect(fill("b") > 0)
        for (token, own) in [("b", shared.held - 22), ("c", 12), ("d", 10)] as [(TokenID, Int)] {
            shared.giveBack(own, of: token)
        }
        #expect(shared.held == 0 && fill("a") == 50)
    }

    @Test("a head that is too large") func largeHead() async throws {
        try await TestService.with(settings: .changed { $0.headerBytes = 4096 }) { service in
            for field in [
                "x: \(String(repeating: "y", count: 5000))",
                (0..<100).map { "x\($0): \(String(repeating: "y", count: 60))" }.joined(separator: "\r\n"),
                (0..<300).map { "x\($0): y" }.joined(separator: "\r\n"),
            ] {
                let raw = try RawConnection(service.url)
                try raw.send("GET /livez HTTP/1.1\r\nhost: x\r\n\(field)\r\n\r\n")
                let answer = try await raw.answer()
                #expect(answer.hasPrefix("HTTP/1.1 431 ") && answer.contains("application/problem+json"), "\(answer)")
                #expect(answer.contains("200 fields, of 4096 bytes"), "\(answer)")
            }
            let path = try RawConnection(service.url)
            try path.send("GET /\(String(repeating: "y", count: 100_000)) HTTP/1.1\r\nhost: x\r\n\r\n")
            #expect(try await path.answer().hasPrefix("HTTP/1.1 4"))
        }
    }

    @Test(
        "input that is not HTTP",
        arguments: [
            "hello\r\n\r\n", "GET /livez HTTP/1.1\r\nhost x\r\n\r\n",
            "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\r\n\r\n",
        ])
    func noHTTP(text: String) async throws {
        try await TestService.with { service in
            let raw = try RawConnection(service.url)
            try raw.send(text)
            let answer = try await raw.answer()
            #expect(answer.hasPrefix("HTTP/1.1 400 ") && answer.contains("application/problem+json"), "\(answer)")
            #expect(try await service.ask("GET", "/livez").status == 200)
        }
    }

    @Test("a head or a body that does not arrive times out, even if it arrives byte by byte") func slow() async throws {
        // On a busy machine a second may pass before the service reads what was sent.
        try await TestService.with(settings: .changed { $0.request = .seconds(4) }) { service in
            let silent = try RawConnection(service.url)
            let head = try RawConnection(service.url)
            try head.send("GET /livez HTTP/1.1\r\nhost:")
            let body = try RawConnection(service.url)
            try body.send(
                RawRequest.append(service.token, "content-length: 100") + "{"
            )
            let dripping = try RawConnection(service.url)
            try dripping.send(
                RawRequest.append(service.token, "content-length: 100")
            )
            async let drops: Void = {
                // Until the service closes the connection.
                while (try? dripping.send(" ")) != nil { try await Task.sleep(for: .milliseconds(100)) }
            }()
            // There was no request, so there is no answer.
            #expect(try await silent.answer() == "")
            for slow in [head, body, dripping] {
                let answer = try await slow.answer()
                #expect(answer.hasPrefix("HTTP/1.1 408 ") && answer.contains("\"request_timeout\""), "\(answer)")
            }
            try await drops
            #expect(try await service.ledger.count() == 0)
        }
    }

    @Test("an idle connection is closed, an active one is kept") func idle() async throws {
        try await TestService.with(
            settings: .changed { ($0.request, $0.idle, $0.heartbeat) = (.seconds(4), .seconds(4), .seconds(1)) }
        ) {
            service in
            let raw = try RawConnection(service.url)
            try raw.send(RawRequest.livez)
            let answer = try await raw.answer()
            #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("}"))
            // A connection with a stream is not idle.
            try await service.ledger.queue("a")
            var stream = try await service.stream("/v1/jobs/a/events")
            _ = try await stream.next()
            try await stream.skip(comments: 5)
            try await service.ledger.progress("a", 1)
            #expect(try await stream.next()?.position == 2)
        }
    }

    @Test("a connection above the limit is told so, unless a silent one can make way") func connections() async throws {
        try await TestService.with(settings: .changed { $0.connections = 5 }) { service in
            let silent = try (0..<5).map { _ in try RawConnection(service.url) }
            // These take the places of the silent ones.
            var busy: [RawConnection] = []
            for _ in 0..<5 {
                let raw = try RawConnection(service.url)
                try raw.send(
                    RawRequest.get("/v1/events", service.token, "accept: text/event-stream")
                )
                #expect(try await raw.answer(until: "retry: 1000").hasPrefix("HTTP/1.1 200 "))
                busy.append(raw)
            }
            for raw in silent { #expect(try await raw.answer() == "") }
            let refused = try RawConnection(service.url)
            let answer = try await refused.answer()
            #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("\"too_many_connections\""), "\(answer)")
            busy.removeLast().close()
            _ = try await eventually("there is a place again") {
                let raw = try RawConnection(service.url)
                try? raw.send("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                return try await raw.answer().hasPrefix("HTTP/1.1 200 ") ? true : nil
            }
        }
    }
}
