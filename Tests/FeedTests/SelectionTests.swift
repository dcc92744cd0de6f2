import LedgerCore
import Redis
import Testing

@testable import Feed

/// Which events a subscription wants.
@Suite struct SelectionTests {
    private static let user = Category("user")!

    private static func event(_ category: Category, _ id: JobID, _ type: String) throws -> FeedEvent {
        FeedEvent(
            RecordedEvent(
                position: 7, id: .version7(), category: category, job: id, version: 3,
                type: try #require(EventType(rawValue: type)), data: "{}", recordedAt: Timestamp(microseconds: 0)),
            of: .standard)
    }

    @Test func everything() throws {
        let all = Selection()
        #expect(all.category == nil && all.streams == nil && all.onlyJob == nil)
        #expect(all.wants(try Self.event(.job, "a", "queued")))
        #expect(all.wants(try Self.event(Self.user, "a", "removed")))
    }

    @Test func oneCategory() throws {
        let users = Selection(category: Self.user)
        #expect(users.streams == nil && users.onlyJob == nil)
        #expect(users.wants(try Self.event(Self.user, "a", "removed")))
        #expect(!users.wants(try Self.event(.job, "a", "queued")))
        #expect(users.mark(try Self.event(Self.user, "a", "removed")) == .init(number: 7, position: 7))
    }

    /// Without a category, jobs and types are those of jobs, as before there were other categories.
    @Test func jobsAndTypes() throws {
        for selection in [Selection(jobs: ["a", "b"], types: [.failed]), Selection(types: [.failed])] {
            #expect(selection.category == .job)
            #expect(selection.wants(try Self.event(.job, "a", "failed")))
            #expect(!selection.wants(try Self.event(.job, "a", "queued")))
            #expect(!selection.wants(try Self.event(Self.user, "a", "failed")))
        }
        let failed = Selection(category: Self.user, types: [.failed])
        #expect(failed.wants(try Self.event(Self.user, "a", "failed")))
        #expect(!failed.wants(try Self.event(.job, "a", "failed")))
    }

    @Test func oneStream() throws {
        let job = Selection(jobs: ["a"], endsWithJob: true)
        #expect(job.onlyJob == "a" && job.endsWithJob && job.streams == [StreamKey(.job, "a")])
        let user = Selection(category: Self.user, jobs: ["a"], endsWithJob: true)
        #expect(user.onlyJob == "a" && user.streams == [StreamKey(Self.user, "a")])
        // A type of another category that is named like the end of a job ends nothing.
        #expect(!user.endsWithJob)
        #expect(user.mark(try Self.event(Self.user, "a", "failed")) == .init(number: 3, position: 7))
        let two = Selection(category: Self.user, jobs: ["a", "b"])
        #expect(two.onlyJob == nil && two.streams?.count == 2)
    }
}

/// The channels that subscriptions need.
@Suite struct SubscriberRegistryTests {
    private static func buffer(_ selection: Selection) -> SubscriptionBuffer {
        SubscriptionBuffer(selection, after: 0, epoch: nil, bufferLimits: Feed.BufferLimits())
    }

    @Test func channelsAreThoseOfTheStreams() throws {
        let ledger = try #require(LedgerName("l"))
        let user = try #require(Category("user"))
        let topics = RedisTopics(RedisTopics.Names(channels: [ledger.headChannel]))
        var registry = SubscriberRegistry(ledger, topics)
        // A job and a user may have the same id.
        let (job, one) = (Self.buffer(Selection(jobs: ["a"])), Self.buffer(Selection(category: user, jobs: ["a"])))
        registry.join(job)
        registry.join(one)
        #expect(topics.names == RedisTopics.Names(channels: ["l:head", "l:job:a", "l:user:a"]))
        #expect(
            registry.byStream[StreamKey(.job, "a")]?.count == 1 && registry.byStream[StreamKey(user, "a")]?.count == 1)
        let all = Self.buffer(Selection(category: user))
        registry.join(all)
        #expect(topics.names == RedisTopics.Names(channels: ["l:head"], patterns: ["l:*:*"]))
        #expect(registry.everything == [all])
        registry.leave(job)
        registry.leave(all)
        #expect(topics.names == RedisTopics.Names(channels: ["l:head", "l:user:a"]))
        registry.leave(one)
        #expect(topics.names == RedisTopics.Names(channels: ["l:head"]) && registry.count == 0)
    }
}
