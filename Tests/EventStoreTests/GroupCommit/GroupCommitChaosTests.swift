import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Synchronization
import Testing

/// Many callers, random cancellation, lost answers, server processes killed during a commit:
/// unknown outcomes are retried with the same event ids. In the end every event is in the log once,
/// at the position that its caller was told.
@Suite(.timeLimit(.minutes(10))) struct GroupCommitChaosTests {
    private static let callers = 32
    private static let requestsEach = 60

    /// What a caller saw, counted to prove that faults occurred.
    private struct Seen: Sendable {
        var answered: [EventID: Position] = [:]
        var refused: Set<EventID> = []
        /// Cancelled and never retried: they may be written or not.
        var abandoned: Set<EventID> = []
        /// The ids of each request, of which all or none must be written.
        var together: [[EventID]] = []
        var unknown = 0
        var cancelled = 0

        mutating func add(_ other: Seen) {
            answered.merge(other.answered) { a, _ in a }
            refused.formUnion(other.refused)
            abandoned.formUnion(other.abandoned)
            together += other.together
            unknown += other.unknown
            cancelled += other.cancelled
        }
    }

    @Test func everyEventIsWrittenOnceAndEveryCallerIsToldTheTruth() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("group commit chaos: seed \(seed)")
        try await TestLedger.with { ledger async throws in
            let proxy = try ledger.proxy()
            let name = "\(ledger.name)-chaos"
            let store = EventStore(url: try ledger.url(through: proxy), ledger: ledger.name, applicationName: name)
            var settings = GroupCommit.Settings()
            settings.connections = 2
            settings.mostRequests = 10
            settings.smallEvents = 2
            settings.timeout = .seconds(60)
            let (seen, killed) = try await store.withGroupCommit(settings) { commits in
                let isOver = Flag()
                async let killed = Self.injectFaults(ledger, proxy, commits, name, seed, until: isOver)
                let seen = try await withThrowingTaskGroup(of: Seen.self) { group in
                    for number in 0..<Self.callers {
                        group.addTask {
                            try await Self.call(commits, number, SeededGenerator(seed: seed &+ UInt64(number)))
                        }
                    }
                    var all = Seen()
                    while let seen = try await group.next() { all.add(seen) }
                    return all
                }
                isOver.raise()
                return (seen, try await killed)
            }
            await store.close()
            #expect(proxy.lost > 0 && killed > 0 && seen.unknown > 0 && seen.cancelled > 0, "seed \(seed)")
            print(
                """
                answers lost \(proxy.lost), processes killed \(killed), unknown \(seen.unknown), \
                cancelled \(seen.cancelled)
                """)
            proxy.stop()
            try await Self.check(try await ledger.log(), against: seen, seed)
        }
    }

    private static func check(_ log: [RecordedEvent], against seen: Seen, _ seed: UInt64) async throws {
        #expect(log.map(\.position) == (0..<log.count).map { Position($0) + 1 }, "positions have gaps; seed \(seed)")
        let places = Dictionary(grouping: log, by: \.id)
        #expect(places.values.allSatisfy { $0.count == 1 }, "an event stands there twice; seed \(seed)")
        for (id, position) in seen.answered {
            #expect(places[id]?.first?.position == position, "seed \(seed)")
        }
        #expect(places.keys.allSatisfy { seen.answered[$0] != nil || seen.abandoned.contains($0) }, "seed \(seed)")
        #expect(seen.refused.allSatisfy { places[$0] == nil }, "a refused event was written; seed \(seed)")
        for request in seen.together {
            let positions = request.compactMap { places[$0]?.first?.position }
            #expect(
                positions.isEmpty || positions == (0..<request.count).map { positions[0] + Position($0) },
                "seed \(seed)")
        }
        for (job, events) in Dictionary(grouping: log, by: \.job) {
            #expect(
                events.map(\.version) == (0..<events.count).map { Int32($0) + 1 }, "versions of \(job); seed \(seed)")
        }
    }

    /// One caller with its own job, whose requests are good, refused, large or cancelled.
    private static func call(_ commits: GroupCommit, _ number: Int, _ random: SeededGenerator) async throws -> Seen {
        var random = random
        var seen = Seen()
        let job = "job-\(number)"
        for index in 0..<requestsEach {
            let isGhost = index > 0 && random.below(6) == 0
            var request = index == 0 ? AppendRequest.queue(job) : .progress(isGhost ? "ghost-\(number)" : job, index)
            if random.below(8) == 0 {
                request.events += (0..<Int(random.below(4)) + 1).map { _ in AppendRequest.progress(job, index).events[0]
                }
            }
            let ids = request.events.map(\.id)
            seen.together.append(ids)
            attempts: while true {
                let sent = request
                let task = Task { try await commits.append(sent) }
                if random.below(8) == 0 {
                    for _ in 0..<random.below(4) { await Task.yield() }
                    task.cancel()
                }
                do {
                    for (id, appended) in zip(ids, try await task.value) { seen.answered[id] = appended.position }
                    break attempts
                } catch let refusal as Refusal {
                    #expect(isGhost && refusal.code == .unknownJob, "\(refusal)")
                    seen.refused.formUnion(ids)
                    break attempts
                } catch is CancellationError {
                    seen.cancelled += 1
                    if index > 0, random.below(2) == 0 {
                        seen.abandoned.formUnion(ids)
                        break attempts
                    }
                } catch is OutcomeUnknown {
                    seen.unknown += 1
                }
            }
        }
        return seen
    }

    /// After every few commits causes the next fault: a lost answer, or a killed server process.
    private static func injectFaults(
        _ ledger: TestLedger, _ proxy: CuttingProxy, _ commits: GroupCommit, _ name: String, _ seed: UInt64,
        until isOver: Flag
    ) async throws -> Int {
        var random = SeededGenerator(seed: ~seed)
        let connection = try await ledger.connect(as: "wreaker")
        var killed = 0
        while !isOver.isRaised {
            let next = commits.status.small.commits + 1 + Int(random.below(4))
            _ = try await eventually(within: .seconds(120), "\(next) commits") {
                isOver.isRaised || commits.status.small.commits >= next ? true : nil
            }
            if random.below(2) == 0 {
                proxy.loseAnswer(toRequestWith: "completed")
            } else {
                let rows = try await connection.query(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name = $1 ORDER BY state = 'active' DESC, random() LIMIT 1
                    """, name)
                killed += rows.count
            }
        }
        await connection.close()
        return killed
    }
}
