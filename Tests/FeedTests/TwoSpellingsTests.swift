import EventStore
import Feed
import LedgerCore
import LedgerTesting
import Redis
import Testing

/// Two jobs whose ids look alike: a subscription to one gets all of its events and none of the
/// other's.
@Suite(.timeLimit(.minutes(10))) struct TwoSpellingsTests {
    private static let count = 20

    @Test(arguments: [true, false])
    func areFollowedSeparately(byRedis: Bool) async throws {
        try await TestLedger.with { ledger async throws in
            let redis: RedisConfiguration? = byRedis ? try await TestServers.shared.redis() : nil
            try await ledger.withFeed(redis, relayTo: redis, poll: .milliseconds(20)) { feed async throws in
                if byRedis { try await feed.whenLive(ledger) }
                let start = try await ledger.store.head()
                try await withThrowingTaskGroup(of: (JobID, [FeedEvent]).self) { group in
                    for job in TwoSpellings.both {
                        group.addTask {
                            (
                                job,
                                try await feed.subscribe(after: Place(start), job: job).reduce(into: []) {
                                    $0.append($1)
                                }
                            )
                        }
                    }
                    group.addTask {
                        let both = feed.subscribe(after: Place(start), jobs: Set(TwoSpellings.both))
                        return ("both", try await both.first(2 * (Self.count + 2)))
                    }
                    _ = try await eventually("all have subscribed") { feed.figures.subscribers == 3 ? true : nil }
                    for job in TwoSpellings.both { try await ledger.queue(job) }
                    for completed in 1...Self.count {
                        for job in TwoSpellings.both { try await ledger.progress(job, completed) }
                    }
                    for job in TwoSpellings.both {
                        _ = try await ledger.store.append(NewEvent(type: "finished"), to: job)
                    }
                    for try await (job, events) in group {
                        if job == "both" as JobID {
                            #expect(events.map(\.position) == (1...events.count).map { start + Position($0) })
                        } else {
                            #expect(events.allSatisfy { $0.job == job }, "\(job.utf8.count) bytes")
                            #expect(events.map(\.version) == (1...Self.count + 2).map(Int32.init))
                        }
                    }
                }
            }
        }
    }
}
