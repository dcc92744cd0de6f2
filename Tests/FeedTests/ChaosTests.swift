import EmbeddedServices
import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerTesting
import Redis
import Testing

/// A proxy between subscribers and Redis drops, repeats and delays messages and cuts connections,
/// and Redis itself is killed and restarted, while thousands of events arrive. Every subscriber
/// gets every event once, in order.
@Suite(.timeLimit(.minutes(10))) struct ChaosTests {
    private static let jobs = 20
    private static let perSecond = 2500
    /// A step every 20 ms.
    private static let stepsPerSecond = 50

    private static var seconds: Int {
        // `make soak` runs longer.
        ProcessInfo.processInfo.environment["JOBLEDGER_SOAK"] == nil ? 4 : 60
    }

    @Test func everySubscriberGetsEveryEventOnceInOrder() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("feed chaos: seed \(seed)")
        let server = try await PrivateRedis.start(directory: TestServers.directory("chaos-redis"), listening: .loopback)
        let redis = try RedisConfiguration(url: server.url)
        let proxy = try LossyProxy(
            target: redis.port, seed: seed, LossyProxy.Faults(drop: 10, duplicate: 10, delay: 10, cut: 1))
        var through = redis
        through.address = .tcp(host: "127.0.0.1", port: proxy.port)
        try await TestLedger.with { ledger async throws in
            try await ledger.withFeed(through, relayTo: redis) { feed async throws in
                try await Self.run(ledger, feed, server, proxy, seed)
            }
        }
        proxy.stop()
        try await server.stop()
    }

    private static func run(
        _ ledger: TestLedger, _ feed: Feed, _ server: PrivateRedis, _ proxy: LossyProxy, _ seed: UInt64
    ) async throws {
        let everything = Reader("everything", feed.subscribe())
        let slow = Reader("slow", feed.subscribe(), pause: .milliseconds(100))
        let byTypes = Reader("types", feed.subscribe(types: [.queued, .finished]))
        let several = Reader("several", feed.subscribe(jobs: ["job 0", "job 1", "last"]))
        let single = (0..<jobs).map { Reader("job \($0)", feed.subscribe(job: "job \($0)")) }
        async let appended = append(ledger, seed)
        let killing = Task {
            var random = SeededGenerator(seed: seed ^ 1)
            while !Task.isCancelled {
                let next = try await ledger.store.head() + Position(perSecond) + Position(random.below(3750))
                _ = try await eventually("the log reaches \(next)") {
                    try await ledger.store.head() >= next ? true : nil
                }
                try await server.kill()
                try await Task.sleep(for: .milliseconds(random.below(500)))
                try await server.restart()
            }
        }
        let rate = try await appended
        killing.cancel()
        _ = await killing.result
        try? await server.restart()
        let log = try await ledger.store.page(EventQuery(largestData: 0))
        try await everything.expect(log, seed)
        try await slow.expect(log, seed)
        try await byTypes.expect(log.filter { $0.type != .progress }, seed)
        try await several.expect(log.filter { ["job 0", "job 1", "last"].contains($0.job) }, seed)
        for reader in single { try await reader.expect(log.filter { $0.job == reader.name }, seed) }
        let (figures, counts) = (feed.figures, proxy.counts)
        print("\(log.count) events at \(Int(rate))/s; \(counts); \(figures)")
        #expect(
            counts.dropped > 0 && counts.duplicated > 0 && counts.delayed > 0 && figures.gapsDetected > 0,
            "some kind of fault never happened")
    }

    /// Appends at a steady pace. Returns the number of events per second.
    private static func append(_ ledger: TestLedger, _ seed: UInt64) async throws -> Double {
        var random = SeededGenerator(seed: seed ^ 2)
        let start = ContinuousClock.now
        for job in 0..<jobs { try await ledger.queue("job \(job)") }
        let steps = seconds * stepsPerSecond
        for step in 1...steps {
            try await Task.sleep(until: start.advanced(by: .milliseconds(1000 / stepsPerSecond) * step))
            let requests = (0..<(perSecond / stepsPerSecond)).map { number in
                let event = NewEvent(type: "progress", data: #"{"completed":\#(step),"message":"\#(number)"}"#)
                return AppendRequest(job: "job \(random.below(UInt64(jobs)))", events: [event])
            }
            _ = try await ledger.store.append(requests)
        }
        let duration = start.duration(to: .now)
        for job in 0..<jobs { _ = try await ledger.store.append(NewEvent(type: "finished"), to: "job \(job)") }
        try await ledger.queue("last")
        _ = try await ledger.store.append(NewEvent(type: "finished"), to: "last")
        return Double(steps * perSecond / stepsPerSecond) / (duration / .seconds(1))
    }
}

/// A subscriber in a task of its own. It runs until its subscription or the job `last` ends.
private struct Reader {
    let name: String
    private let task: Task<[Place], any Error>

    private struct Place: Equatable, Sendable {
        var position: Position
        var id: EventID
    }

    init(_ name: String, _ subscription: Subscription, pause: Duration? = nil) {
        self.name = name
        task = Task {
            var places: [Place] = []
            var events = subscription.makeAsyncIterator()
            while let batch = try await events.nextBatch() {
                places += batch.map { Place(position: $0.position, id: $0.id) }
                if let last = batch.last, last.job == "last", last.type.isEnd { break }
                if let pause { try await Task.sleep(for: pause) }
            }
            return places
        }
    }

    func expect(_ events: [RecordedEvent], _ seed: UInt64) async throws {
        let wanted = events.map { Place(position: $0.position, id: $0.id) }
        let places = try await within(.seconds(60)) { try await task.value }
        #expect(places.count == wanted.count, "\(name), seed \(seed)")
        let differing = zip(places, wanted).first { $0 != $1 }
        #expect(differing == nil, "\(name), seed \(seed)")
    }
}

/// The result of `work`, or an error if it takes longer than `limit`.
private func within<Value: Sendable>(_ limit: Duration, _ work: @escaping @Sendable () async throws -> Value)
    async throws
    -> Value
{
    try await withThrowingTaskGroup(of: Value.self) { group in
        defer { group.cancelAll() }
        group.addTask { try await work() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw NeverHappened(question: "the end of a subscription", limit: limit)
        }
        return try await group.next()!
    }
}
