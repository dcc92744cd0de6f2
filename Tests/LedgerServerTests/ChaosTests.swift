import EmbeddedServices
import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Redis
import Testing

/// Between the service and Redis messages are dropped, repeated and delayed and connections cut, and Redis is killed and started again,
/// while events come: each stream has every event once, in order.
@Suite("streams over a Redis that cannot be trusted", .timeLimit(.minutes(5))) struct ChaosTests {
    private static let jobs = 10
    private static let steps = 150

    @Test("lose nothing") func loseNothing() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("stream chaos: seed \(seed)")
        let server = try await PrivateRedis.start(directory: TestServers.directory("chaos-redis"))
        let redis = try RedisConfiguration(url: server.url)
        guard case .tcp(_, let port) = redis.address else { throw NeverHappened(question: "a Redis with a port", limit: .zero) }
        let proxy = try LossyProxy(
            target: port, seed: seed, LossyProxy.Faults(drop: 20, duplicate: 20, delay: 20, cut: 2))
        var through = redis
        through.address = .tcp(host: "127.0.0.1", port: proxy.port)
        try await TestService.with(redis: through) { service in
            let relay = Relay(
                store: service.ledger.store, url: service.ledger.url, redis: redis,
                logger: Logger(label: "relay") { _ in SwiftLogNoOpLogHandler() })
            let relaying = Task { await relay.run() }
            defer { relaying.cancel() }
            for job in 0..<Self.jobs { try await service.ledger.queue("j\(job)") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Self.read(service, "/v1/events", wants: { _ in true }) }
                group.addTask {
                    try await Self.read(service, "/v1/events?type=queued&type=finished", wants: { $0.type != .progress })
                }
                group.addTask {
                    try await Self.read(
                        service, "/v1/events?job=j0&job=j1&job=last", wants: { ["j0", "j1", "last"].contains($0.job) })
                }
                for job in 0..<Self.jobs {
                    group.addTask { try await Self.read(service, "/v1/jobs/j\(job)/events", wants: { $0.job == "j\(job)" }) }
                }
                group.addTask {
                    var random = SeededGenerator(seed: seed ^ 1)
                    for step in 1...Self.steps {
                        let requests = (0..<20).map { number in
                            AppendRequest(
                                job: "j\(random.below(UInt64(Self.jobs)))",
                                events: [NewEvent(type: "progress", data: #"{"completed":\#(step),"message":"\#(number)"}"#)])
                        }
                        _ = try await service.ledger.store.append(requests)
                        if step.isMultiple(of: 50) {
                            try await server.kill()
                            try await server.restart()
                        }
                    }
                    for job in 0..<Self.jobs {
                        _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "j\(job)")
                    }
                    try await service.ledger.queue("last")
                    _ = try await service.ledger.store.append(NewEvent(type: "finished"), to: "last")
                }
                try await group.waitForAll()
            }
            let counts = proxy.counts
            #expect(counts.dropped > 0 && counts.duplicated > 0 && counts.delayed > 0, "no chaos, seed \(seed): \(counts)")
        }
        proxy.stop()
        try await server.stop()
    }

    /// Reads a stream to its end, or to that of the job `last`, and compares it with the log.
    private static func read(_ service: TestService, _ path: String, wants: (RecordedEvent) -> Bool) async throws {
        var stream = try await service.stream(path)
        var messages: [EventReading.Message] = []
        while let message = try await stream.next() {
            messages.append(message)
            if message.job == "last", message.type == "finished" { break }
        }
        let log = try await service.ledger.store.page(EventQuery()).filter(wants)
        #expect(messages.count == log.count, "\(path)")
        #expect(messages.map(\.position) == log.map(\.position), "\(path)")
        #expect(messages.map { $0.json["id"].text } == log.map(\.id.text), "\(path)")
    }
}
