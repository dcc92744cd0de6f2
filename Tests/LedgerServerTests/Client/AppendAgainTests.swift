import EventStore
import LedgerClient
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// A client that remembers what was acknowledged appends it again after a loss.
@Suite(.timeLimit(.minutes(10))) struct AppendAgainTests {
    private static func queued() -> NewEvent { NewEvent(type: "queued", data: #"{"name":"n","total":90}"#) }
    private static func progress(_ completed: Int) -> NewEvent {
        NewEvent(type: "progress", data: #"{"completed":\#(completed)}"#)
    }
    private static func divergence(_ service: TestService, after shared: Position) async throws -> Divergence {
        Divergence(
            place: Place(99), shared: Place(shared, epoch: try await service.ledger.epochDigits()),
            head: try await service.ledger.store.head())
    }
    private static func log(_ service: TestService) async throws -> [EventID] {
        try await service.ledger.store.pool.withConnection {
            try await $0.query("SELECT event_id FROM events ORDER BY position").map { try $0.decode(0) }
        }
    }

    /// Whatever was lost is there again, in the same order and once, and requests are still whole.
    @Test func whatWasLost() async throws {
        try await TestService.with { service in
            let memory = AcknowledgedEvents()
            let ledger = try LedgerClient(url: service.url, token: service.token).remembering(memory)
            try await ledger.append(Self.queued(), to: "a")
            let together = [Self.progress(1), Self.progress(2)]
            try await ledger.append(together, to: "a")
            _ = try await ledger.append(
                (0..<5).map { AppendRequest(job: JobID("b\($0)"), events: [Self.queued()], expectedVersion: 0) })
            _ = try await ledger.withBatches { try await $0.append(Self.progress(3), to: "a") }
            try await ledger.append([Self.progress(4), NewEvent(type: "finished")], to: "a")
            let before = try await Self.log(service)
            #expect(memory.count == 11 && before.count == 11)
            // A retry is remembered where it is.
            for shared: Position in [1, 6, 11] {
                if shared < 11 { try await service.ledger.lose(after: shared) }
                let again = try await ledger.appendAgain(after: Self.divergence(service, after: shared))
                #expect(again.reduce(0) { $0 + $1.request.events.count } == 11 - Int(shared))
                for one in again {
                    let appended = try one.answer.get()
                    #expect(appended.map(\.eventID) == one.request.events.map(\.id))
                    #expect(appended.allSatisfy { !$0.isDuplicate })
                }
                #expect(try await Self.log(service) == before)
                #expect(memory.count == 11)
            }
            // Nothing was lost: the answers are duplicates.
            let duplicates = try await ledger.appendAgain(after: Self.divergence(service, after: 0))
            #expect(try duplicates.allSatisfy { try $0.answer.get().allSatisfy(\.isDuplicate) })
            #expect(try await Self.log(service) == before)
        }
    }

    /// Refusals come one by one, and what was refused is not tried again.
    @Test func refusals() async throws {
        try await TestService.with { service in
            let memory = AcknowledgedEvents()
            let ledger = try LedgerClient(url: service.url, token: service.token).remembering(memory)
            // Another caller queues the job, and does not append it again.
            try await ledger.append(Self.queued(), to: "a")
            try await service.ledger.queue("b", total: 9)
            try await ledger.append(Self.progress(1), to: "b")
            try await ledger.append([Self.progress(1), Self.progress(2)], to: "a")
            try await ledger.append(Self.progress(2), to: "b")
            try await service.ledger.lose(after: 1)
            let again = try await ledger.appendAgain(after: Self.divergence(service, after: 1))
            let codes = again.map { one in
                if case .failure(let refusal) = one.answer { return refusal.code.rawValue }
                return "appended"
            }
            #expect(codes == ["unknown_job", "appended", "unknown_job"])
            #expect(try await ledger.appendAgain(after: Self.divergence(service, after: 3)).isEmpty)
        }
    }

    /// A subscription tells of the loss, and the client mends it in between.
    @Test func fromASubscription() async throws {
        try await TestService.with { service in
            let ledger = try LedgerClient(url: service.url, token: service.token).remembering(AcknowledgedEvents())
            try await ledger.append(Self.queued(), to: "a")
            try await ledger.append(Self.progress(1), to: "a")
            try await ledger.append(NewEvent(type: "finished"), to: "a")
            let place = Place(3, epoch: try await service.ledger.epochDigits())
            try await service.ledger.lose(after: 1)
            let events = ledger.subscribe(after: place).goingOn { divergence in
                #expect(divergence.shared.position == 1)
                for again in try await ledger.appendAgain(after: divergence) { _ = try again.answer.get() }
            }
            var seen: [Position] = []
            for try await event in events {
                seen.append(event.position)
                if event.type == .finished { break }
            }
            #expect(seen == [2, 3])
        }
    }

    /// The memory is bounded, and off unless it is asked for.
    @Test func bounds() async throws {
        try await TestService.with { service in
            let memory = AcknowledgedEvents(mostEvents: 3)
            let ledger = try LedgerClient(url: service.url, token: service.token).remembering(memory)
            try await ledger.append(Self.queued(), to: "a")
            for number in 1...9 { try await ledger.append(Self.progress(number), to: "a") }
            #expect(memory.count == 3)
            try await service.ledger.lose(after: 5)
            let again = try await ledger.appendAgain(after: Self.divergence(service, after: 5))
            #expect(again.map(\.request.events[0].data) == (7...9).map { #"{"completed":\#($0)}"# })
            let forgetful = try LedgerClient(url: service.url, token: service.token)
            let divergence = try await Self.divergence(service, after: 5)
            await #expect(throws: LedgerClientError.self) { try await forgetful.appendAgain(after: divergence) }
        }
    }

    /// The figures for dashboards.
    @Test func figures() async throws {
        try await TestService.with { service in
            try await service.ledger.queue("a", total: 9)
            for number in 1...4 { try await service.ledger.progress("a", number) }
            func figure(_ name: String) async throws -> String? {
                try await service.ask("GET", "/metrics").text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
                    .map { String($0.split(separator: " ")[1]) }
            }
            #expect(try await figure("jobledger_lost_events") == "0")
            #expect(try await figure("jobledger_epochs") == "1")
            let old = try await service.ledger.epochDigits()
            try await service.ledger.lose(after: 3)
            _ = try await service.ledger.store.pool.withConnection {
                try await $0.noteLoss(by: "relay", Place(5, epoch: old))
            }
            #expect(try await figure("jobledger_lost_events") == "2")
            #expect(try await figure("jobledger_epochs") == "2")
        }
    }
}
