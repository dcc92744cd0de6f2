import LedgerCore
import LedgerTesting
import Testing

/// A conflated stream has taken more than its client has. The rate is so low that what is held back
/// stays so while a test runs.
@Suite("conflated event streams of a ledger that loses events") struct ConflatedLossTests {
    /// Waits until streams have taken this many new events, also those that they hold back.
    private func untilTaken(_ count: Int, by service: TestService) async throws {
        _ = try await eventually("streams have taken \(count) events") {
            let metrics = try await service.ask("GET", "/metrics").text
            let taken = metrics.firstMatch(of: /jobledger_delivery_lag_seconds_count (\d+)/).flatMap { Int($0.1) }
            return taken ?? 0 >= count ? true : nil
        }
    }

    @Test("what was held back and survives is sent, and nothing is said if all that was sent survives")
    func heldBack() async throws {
        try await TestService.with { service in
            for job in ["a", "b"] { try await service.ledger.queue(job) }
            var stream = try await service.stream("/v1/events?conflate=0.1")
            #expect(try await stream.next(2).map(\.position) == [1, 2])
            try await service.ledger.progress("a", 1)
            #expect(try await stream.next()?.position == 3)
            // Positions 4 to 7.
            for count in 2...3 { for job in ["a", "b"] { try await service.ledger.progress(job, count) } }
            try await untilTaken(5, by: service)

            try await service.ledger.lose(after: 5, appending: 1)
            let now = try await service.ledger.epochDigits()
            let rest = try await stream.next(3)
            #expect(rest.map(\.name) == ["", "", ""], "\(rest)")
            #expect(rest.map(\.id) == [4, 5, 6].map { "\($0).\(now)" }, "\(rest)")
            #expect(rest.map(\.job) == ["a", "b", "other 1"], "\(rest)")
        }
    }

    @Test("what is told of a loss is what was sent") func told() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a")
            var stream = try await service.stream("/v1/events?conflate=0.1")
            #expect(try await stream.next()?.position == 1)
            try await service.ledger.progress("a", 1)
            #expect(try await stream.next()?.position == 2)
            let place = stream.lastID
            // Positions 3 and 4.
            for count in 2...3 { try await service.ledger.progress("a", count) }
            try await untilTaken(3, by: service)

            try await service.ledger.lose(after: 1, appending: 1)
            let now = try await service.ledger.epochDigits()
            let told = try await stream.next()
            #expect(told?.name == "diverged" && told?.id == "1.\(now)", "\(told!)")
            #expect(told?.data == #"{"place":"\#(place)","shared":"1.\#(now)","head":"2"}"#, "\(told!)")
            let event = try await stream.next()
            #expect(event?.name == "" && event?.id == "2.\(now)" && event?.job == "other 1", "\(event!)")
        }
    }
}
