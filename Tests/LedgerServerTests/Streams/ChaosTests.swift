import EmbeddedServices
import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Redis
import Testing

/// Between the service and Redis, messages are dropped, repeated and delayed and connections cut,
/// and Redis is killed and restarted, while thousands of events arrive a second. Each stream has
/// every event once, in order.
@Suite("streams over an unreliable Redis", .timeLimit(.minutes(10))) struct ChaosTests {
    private static let jobs = 10
    private static let perStep = 25
    private static let stepsPerSecond = 100

    private static var seconds: Int {
        // `make soak` runs longer.
        ProcessInfo.processInfo.environment["JOBLEDGER_SOAK"] == nil ? 3 : 60
    }

    @Test("lose nothing") func loseNothing() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("stream chaos: seed \(seed)")
        let server = try await PrivateRedis.start(directory: TestServers.directory("chaos-redis"), listening: .loopback)
        let redis = try RedisConfiguration(url: server.url)
        guard case .server(.tcp(_, let port)) = redis.address else {
            throw NeverHappened(question: "a Redis with a port", limit: .zero)
        }
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
            try await withThrowingTaskGroup(of: Reading?.self) { group in
                var readings = [
                    Reading(path: "/v1/events") { _ in true },
                    Reading(path: "/v1/events?type=queued&type=finished") { $0.type != .progress },
                    Reading(path: "/v1/events?job=j0&job=j1&job=last") { ["j0", "j1", "last"].contains($0.job) },
                ]
                for job in 0..<Self.jobs {
                    readings.append(Reading(path: "/v1/jobs/j\(job)/events") { $0.job == "j\(job)" })
                }
                for reading in readings { group.addTask { try await reading.toTheEnd(service) } }
                group.addTask {
                    try await Self.append(service.ledger, seed, server)
                    return nil
                }
                let ended = try await group.reduce(into: [Reading]()) { all, one in if let one { all.append(one) } }
                let log = try await service.ledger.store.page(EventQuery(largestData: 0))
                for reading in ended { reading.expect(log, seed) }
                print("\(log.count) events; \(proxy.counts)")
            }
            let counts = proxy.counts
            #expect(
                counts.dropped > 0 && counts.duplicated > 0 && counts.delayed > 0,
                "some kind of fault never happened, seed \(seed): \(counts)")
        }
        proxy.stop()
        try await server.stop()
    }

    /// Appends at a steady pace, while Redis is killed about once a second.
    private static func append(_ ledger: TestLedger, _ seed: UInt64, _ server: PrivateRedis) async throws {
        var random = SeededGenerator(seed: seed ^ 1)
        let killing = Task {
            var random = SeededGenerator(seed: seed ^ 2)
            while !Task.isCancelled {
                let rate = Position(perStep * stepsPerSecond)
                let next = try await ledger.store.head() + rate / 2 + Position(random.below(UInt64(rate)))
                _ = try await eventually("the log reaches \(next)") {
                    try await ledger.store.head() >= next ? true : nil
                }
                try await server.kill()
                try await server.restart()
            }
        }
        let start = ContinuousClock.now
        let steps = seconds * stepsPerSecond
        for step in 1...steps {
            try await Task.sleep(until: start.advanced(by: .milliseconds(1000 / stepsPerSecond) * step))
            let requests = (0..<perStep).map { number in
                AppendRequest(
                    job: "j\(random.below(UInt64(jobs)))",
                    events: [NewEvent(type: "progress", data: #"{"completed":\#(step),"message":"\#(number)"}"#)])
            }
            _ = try await ledger.store.append(requests)
        }
        let seconds = start.duration(to: .now) / .seconds(1)
        print("appended \(Int(Double(steps * perStep) / seconds)) events/s for \(Int(seconds)) s")
        killing.cancel()
        _ = await killing.result
        try? await server.restart()
        for job in 0..<jobs { _ = try await ledger.store.append(NewEvent(type: "finished"), to: "j\(job)") }
        try await ledger.queue("last")
        _ = try await ledger.store.append(NewEvent(type: "finished"), to: "last")
    }

    /// A stream, and the events that it delivered.
    private struct Reading: Sendable {
        let path: String
        let wants: @Sendable (RecordedEvent) -> Bool
        var places: [Place] = []

        struct Place: Equatable, Sendable {
            var position: Position
            var id: String
        }

        init(path: String, wants: @escaping @Sendable (RecordedEvent) -> Bool) {
            self.path = path
            self.wants = wants
        }

        /// Reads the stream to its end, or to the end of the job `last`.
        func toTheEnd(_ service: TestService) async throws -> Reading {
            var stream = try await service.stream(path)
            var read = self
            while let message = try await stream.next() {
                read.places.append(Place(position: message.position, id: message.json["id"].text ?? ""))
                if message.job == "last", message.type == "finished" { break }
            }
            return read
        }

        func expect(_ log: [RecordedEvent], _ seed: UInt64) {
            let wanted = log.filter(wants).map { Place(position: $0.position, id: $0.id.text) }
            #expect(places.count == wanted.count, "\(path), seed \(seed)")
            let differing = zip(places, wanted).first { $0 != $1 }
            #expect(differing == nil, "\(path), seed \(seed)")
        }
    }
}
