import EventStore
import LedgerCore
import LedgerTesting
import Testing

@testable import LedgerServer

@Suite("moments over HTTP") struct MomentTests {
    private func positions(_ answer: TestService.Answer) -> [Int] {
        answer.json["moments"].elements.compactMap { $0["position"].number }
    }

    @Test("positions with equal distances, and with both ends") func byPosition() async throws {
        try await TestService.with { service in
            let empty = try await service.ask("GET", "/v1/moments")
            #expect(empty.text == #"{"head":0,"moments":[]}"#, "\(empty)")
            #expect(try await service.ask("GET", "/v1/moments?by=time").text == empty.text)
            for number in 1...11 { try await service.ledger.queue("\(number)") }
            let all = try await service.ask("GET", "/v1/moments")
            #expect(all.json["head"].number == 11 && positions(all) == Array(1...11), "\(all)")
            #expect(all.headers["ledger-position"] == "11")
            let events = try await service.ledger.store.page(EventQuery())
            #expect(
                all.json["moments"].elements.map { $0["recorded_at"].text } == events.map { $0.recordedAt.description })
            for (query, expected) in [
                ("points=2", [1, 11]), ("points=3", [1, 6, 11]), ("points=6", [1, 3, 5, 7, 9, 11]),
                ("points=4&from=2&to=8", [2, 4, 6, 8]), ("points=4&from=5", [5, 7, 9, 11]),
                ("from=9&to=999", [9, 10, 11]),
                ("from=11", [11]), ("from=12", []), ("to=0", []), ("from=0&to=1", [1]), ("from=500&to=600", []),
                ("from=1999-01-01T00:00:00Z&points=2", [1, 11]), ("from=2999-01-01T00:00:00Z", []),
                ("to=1999-01-01T00:00:00Z", []),
                ("from=\(percentEncoded(events[10].recordedAt.description))&points=500", [11]),
            ] {
                let answer = try await service.ask("GET", "/v1/moments?\(query)")
                #expect(answer.status == 200 && positions(answer) == expected, "\(query): \(answer)")
            }
        }
    }

    @Test("times with equal distances") func byTime() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("first")
            // Most of the time nothing happens.
            try await Task.sleep(for: .milliseconds(600))
            for number in 1...20 { try await service.ledger.queue("\(number)") }
            let events = try await service.ledger.store.page(EventQuery())
            let answer = try await service.ask("GET", "/v1/moments?by=time&points=5")
            let moments = answer.json["moments"].elements
            #expect(moments.count == 5 && answer.json["head"].number == 21, "\(answer)")
            #expect(moments[0]["position"].number == 1 && moments[0]["time"].text == events[0].recordedAt.description)
            #expect(moments[1]["position"].number == 1, "\(answer)")
            #expect(moments[4]["position"].number == 21 && moments[4]["time"].text == events[20].recordedAt.description)
            var last: Timestamp?
            for moment in moments {
                let time = try #require(Timestamp(moment["time"].text ?? ""))
                let position = try await service.ledger.store.position(at: time)
                #expect(moment["position"].number == Int(position), "\(moment)")
                #expect(moment["recorded_at"].text == events[Int(position) - 1].recordedAt.description)
                if let last { #expect(time > last) }
                last = time
            }
            let part = try await service.ask("GET", "/v1/moments?by=time&points=3&from=2&to=999")
            #expect(part.json["moments"][0]["time"].text == events[1].recordedAt.description, "\(part)")
            #expect(part.json["moments"].elements.count == 3 && part.json["moments"][2]["position"].number == 21)
            let one = try await service.ask("GET", "/v1/moments?by=time&from=21")
            #expect(one.json["moments"].elements.count == 1, "\(one)")
            let whole = try await service.ask(
                "GET", "/v1/moments?by=time&points=5&from=1999-01-01T00:00:00Z&to=2999-01-01T00:00:00Z")
            #expect(whole.text == answer.text, "\(whole)")
            for query in ["from=2999-01-01T00:00:00Z", "to=1999-01-01T00:00:00Z", "to=0", "from=22"] {
                let none = try await service.ask("GET", "/v1/moments?by=time&\(query)")
                #expect(none.status == 200 && none.json["moments"].elements.isEmpty, "\(query): \(none)")
            }
        }
    }

    @Test("what cannot be asked") func bad() async throws {
        try await TestService.with { service in
            for query in [
                "points=1", "points=501", "points=x", "by=job", "from=x", "to=-1", "from=2&to=1", "points=2&points=3",
                "from=2001-01-01T00:00:00Z&to=2000-01-01T00:00:00Z", "limit=5",
            ] {
                let answer = try await service.ask("GET", "/v1/moments?\(query)")
                #expect(answer.status == 400 && answer.code == "invalid_request", "\(query): \(answer)")
            }
        }
    }
}
