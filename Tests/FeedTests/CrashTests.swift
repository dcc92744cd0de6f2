import EmbeddedServices
import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Redis
import Testing

/// Postgres is killed again and again under appenders and a relay. Every acknowledged event is
/// there exactly once, and every event is published.
@Suite struct CrashTests {
    @Test func nothingAcknowledgedIsLost() async throws {
        let server = try await PrivatePostgres.start(directory: TestServers.directory("crash-postgres"))
        let redis = try await TestServers.shared.redis()
        try await TestLedger.with(url: server.url) { ledger async throws in
            var items = try ledger.subscription(redis).makeAsyncIterator()
            while let item = await items.next(), item != .joined {}
            let relay = Task { await ledger.relay(redis).run() }
            let acknowledged = try await withThrowingTaskGroup(of: [(String, Appended)].self) { group in
                for number in 0..<4 {
                    group.addTask {
                        let job = "job \(number)"
                        var answers = [
                            (
                                job,
                                try await ledger.store.append(
                                    NewEvent(type: "queued", data: #"{"name":"n"}"#), to: job, timeout: .seconds(60))
                            )
                        ]
                        for count in 1...150 {
                            let event = NewEvent(type: "progress", data: #"{"completed":\#(count)}"#)
                            answers.append((job, try await ledger.store.append(event, to: job, timeout: .seconds(60))))
                        }
                        return answers
                    }
                }
                group.addTask {
                    for head: Position in [100, 250, 400] {
                        _ = try await eventually("head \(head)") {
                            try await ledger.store.head() >= head ? true : nil
                        }
                        try await server.kill()
                        try await server.restart()
                    }
                    return []
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(acknowledged.count == 4 * 151)
            let events = try await ledger.store.page(EventQuery())
            #expect(events.map(\.position) == (1...604).map { Position($0) })
            for (job, appended) in acknowledged {
                let event = events[Int(appended.position) - 1]
                #expect(event.id == appended.eventID && event.job == job && event.version == appended.version)
            }
            var published: Set<Int> = []
            while published.count < 604, let item = await items.next() {
                if let message = try Message(item), let position = Int(message.position) { published.insert(position) }
            }
            #expect(published == Set(1...604))
            relay.cancel()
            await relay.value
        }
        try await server.stop()
    }
}
