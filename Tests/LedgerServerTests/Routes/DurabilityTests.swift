import EmbeddedServices
import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

@Suite("levels of durability over HTTP", .timeLimit(.minutes(10)), .serialized) struct DurabilityTests {
    private static let queued = #"{"type":"queued","data":{"name":"x"}}"#

    @Test("an append answers its level, and waits for one on request") func levels() async throws {
        try await ReplicatedLedger.with { replicated in
            try await TestService.with(server: replicated.primary.url) { service in
                let append = { (job: String, query: String, event: String) in
                    try await service.ask("POST", "/v1/jobs/\(job)/events\(query)", event)
                }
                try await service.ledger.store.demand(.quorum)
                let first = try await append("a", "", Self.queued)
                #expect(first.status == 201 && first.json["durability"].text == "quorum", "\(first)")
                let metrics = try await service.ask("GET", "/metrics").text
                #expect(metrics.contains(#"jobledger_durability{demanded="quorum",reached="quorum"} 1"#), "\(metrics)")

                // The commit waits for the standbys. Nobody sees the event, and a caller with a
                // limit is told so within it.
                try await replicated.loseStandby()
                let id = EventID.version7().text
                let event = #"{"type":"queued","data":{"name":"x"},"event_id":"\#(id)"}"#
                let late = try await append("b", "?durability=quorum&within=1", event)
                #expect(late.status == 503 && late.code == "outcome_unknown", "\(late)")
                #expect(late.json["event_ids"].elements.map(\.text) == [id])
                let ofMany = EventID.version7().text
                let events = #"[{"job":"m","type":"queued","data":{"name":"x"},"event_id":"\#(ofMany)"}]"#
                let began = ContinuousClock.now
                let many = try await service.ask("POST", "/v1/events?durability=quorum&within=1", events)
                // Otherwise it would wait for as long as any append.
                #expect(began.duration(to: .now) < .seconds(30))
                #expect(many.status == 503 && many.code == "outcome_unknown", "\(many)")
                #expect(many.json["event_ids"].elements.map(\.text) == [ofMany])
                #expect(try await service.ledger.store.head() == 1)
                try await eventually("the service is not ready") {
                    let ready = try await service.ask("GET", "/readyz", token: "")
                    return ready.status == 503 && ready.text.contains("the standbys do not confirm") ? () : nil
                }

                try await replicated.waitForStandbys("standby")
                let again = try await append("b", "?durability=quorum&within=60", event)
                #expect(again.status == 200 && again.json["durability"].text == "quorum", "\(again)")
                #expect(again.json["position"].number == 2)
                let manyAgain = try await service.ask("POST", "/v1/events?durability=quorum&within=60", events)
                #expect(manyAgain.status == 200 && manyAgain.text.contains(#""durability":"quorum""#), "\(manyAgain)")
                try await eventually("the service is ready") {
                    try await service.ask("GET", "/readyz", token: "").status == 200 ? () : nil
                }
            }
        }
    }

    @Test("without standbys the level is refused, and nothing is written") func noStandbys() async throws {
        try await TestService.with { service in
            let answer = try await service.ask(
                "POST", "/v1/jobs/a/events?durability=quorum&within=1", Self.queued)
            #expect(answer.status == 503 && answer.json["code"].text == "no_standby", "\(answer)")
            // It says what helps: to set up standbys, or not to ask for them.
            let detail = answer.json["detail"].text ?? ""
            #expect(detail.contains("synchronous_standby_names") && detail.contains("without durability=quorum"))
            #expect(try await service.ledger.store.head() == 0)
            let local = try await service.ask("POST", "/v1/jobs/a/events?durability=local", Self.queued)
            #expect(local.status == 201 && local.json["durability"].text == "local", "\(local)")
            for query in ["durability=all", "durability=Quorum", "within=0", "within=61", "durabilty=quorum"] {
                let refused = try await service.ask("POST", "/v1/jobs/a/events?\(query)", Self.queued)
                #expect(refused.status == 400, "\(query): \(refused)")
            }
        }
    }
}
