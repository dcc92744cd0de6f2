import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The primary stops and its standby is promoted. A service whose address names both continues by
/// itself.
@Suite("a switchover", .timeLimit(.minutes(5))) struct SwitchoverTests {
    @Test("a service continues with the server that takes writes") func promotion() async throws {
        let primary = try await PrivatePostgres.start(
            directory: TestServers.directory("primary"), settings: ["fsync": "off"])
        let standby = try await PrivateStandby.start(of: primary, in: TestServers.directory("standby"))
        do {
            try await TestService.with(url: standby.urlOfBoth, server: primary.url) { service in
                let before = try await append(to: service)
                let connection = try await PostgresConnection.connect(
                    PostgresConfiguration(url: standby.url), timeout: .seconds(60))
                #expect(try await connection.query("SELECT pg_is_in_recovery()").only().decode(0, as: Bool.self))

                // A standby refuses the lock on the log by another code than other writes.
                let store = EventStore(url: standby.url, ledger: service.ledger.name)
                _ = try await eventually("the standby has the event") { try await store.head() >= before ? true : nil }
                let refused = await #expect(throws: PostgresError.self) {
                    let event = NewEvent(type: "queued", data: #"{"name":"x"}"#)
                    _ = try await store.append(event, to: "s", timeout: .zero)
                }
                #expect(refused?.sqlState == .readOnly && refused?.disposition == .outage, "\(refused!)")
                await store.close()

                // A clean stop waits until the standby has received everything.
                try await primary.stop()
                try await connection.query("SELECT pg_promote(true, 60)")
                #expect(try await append(to: service) > before)
                try await eventually("the service is ready") {
                    try await service.ask("GET", "/readyz", token: "").status == 200 ? () : nil
                }

                // The test removes its ledger from the server on which it created it.
                try await primary.restart()
                await connection.close()
            }
        } catch {
            await standby.stop()
            try await primary.stop()
            throw error
        }
        await standby.stop()
        try await primary.stop()
    }

    /// Appends until the service accepts it.
    /// - Returns: the position.
    private func append(to service: TestService) async throws -> Int {
        try await eventually(within: .seconds(120), "an append succeeds") {
            let answer = try await service.append(#"{"type":"queued","data":{"name":"x"}}"#, to: "job-\(UUID())")
            #expect(answer.status == 201 || answer.status == 503, "\(answer)")
            return answer.status == 201 ? answer.json["position"].number : nil
        }
    }
}
