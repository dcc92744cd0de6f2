import EmbeddedServices
import Foundation
import LedgerTesting
import Redis
import Testing
import Texts

/// A Redis that is found through Sentinels.
@Suite(.timeLimit(.minutes(10))) struct SentinelTests {
    @Test(arguments: [false, true]) func followsTheMaster(killed: Bool) async throws {
        try await TestRedisGroup.with { group in
            let client = RedisClient(try group.redis)
            var items = try RedisSubscription(try group.redis, channels: ["c"]).makeAsyncIterator()
            #expect(await items.next() == .joined)
            try await client.command("PUBLISH", "c", "before")
            #expect(await items.next() == .message(channel: "c", pattern: nil, payload: "before".redisBytes))

            if killed {
                try await group.servers[0].kill()
            } else {
                _ = try await group.sentinels[0].ask("SENTINEL", "FAILOVER", TestRedisGroup.name)
            }
            _ = try await eventually("the replica is promoted") {
                try await group.roles()[1] == "master" ? true : nil
            }

            // Both find the new master, and each other on it.
            while await items.next() != .joined {}
            let heard = try await eventually("a message arrives") { () -> Int64? in
                do {
                    let count = try await client.command("PUBLISH", "c", "after").integer ?? 0
                    return count > 0 ? count : nil
                } catch let error as RedisError where error.isRetriable {
                    return nil
                }
            }
            #expect(heard == 1)
            #expect(await items.next() == .message(channel: "c", pattern: nil, payload: "after".redisBytes))
        }
    }

    /// The old master is still there, calls itself a master, and keeps its connections: only the
    /// Sentinels know better.
    @Test func leavesAMasterThatTheSentinelsLeft() async throws {
        try await TestRedisGroup.with { group in
            let client = RedisClient(try group.redis)
            try await client.command("SET", "where", "old")
            var items = try RedisSubscription(try group.redis, channels: ["c"]).makeAsyncIterator()
            #expect(await items.next() == .joined)

            let other = RedisClient(try RedisConfiguration(url: group.servers[1].url))
            for sentinel in group.sentinels { _ = try await sentinel.ask("SENTINEL", "REMOVE", TestRedisGroup.name) }
            try await other.command("REPLICAOF", "NO", "ONE")
            try await other.command("SET", "where", "new")
            let port = try group.servers[1].port
            for sentinel in group.sentinels {
                _ = try await sentinel.ask("SENTINEL", "MONITOR", TestRedisGroup.name, "127.0.0.1", "\(port)", "2")
                _ = try await sentinel.ask(
                    "SENTINEL", "SET", TestRedisGroup.name, "auth-pass", TestRedisGroup.password)
            }

            #expect(try await group.roles() == ["master", "master"])
            _ = try await eventually("the client is on the new master") {
                try await client.command("GET", "where").string == "new" ? true : nil
            }
            #expect(await items.next()?.isLost == true)
            while await items.next() != .joined {}
            #expect(try await client.command("PUBLISH", "c", "x").integer == 1)
        }
    }

    @Test func doesNotUseAServerThatIsNotAMaster() async throws {
        try await withRedis(listening: .loopback) { server, place in
            let directory = TestServers.directory("sentinel")
            defer { try? FileManager.default.removeItem(at: directory) }
            let client = RedisClient(place)
            let password = try #require(place.password?.revealed)
            let sentinel = try await TestSentinel.start(in: directory, watching: try server.port, password: password)
            let url = "redis+sentinel://:\(password)@127.0.0.1:\(sentinel.port)/\(TestRedisGroup.name)"
            try await RedisConnection.connect(RedisConfiguration(url: url)).ping()

            try await client.command("REPLICAOF", "127.0.0.1", 1)
            let error = try await redisError { _ = try await RedisConnection.connect(RedisConfiguration(url: url)) }
            #expect(error.kind == .connection && error.isRetriable && error.message.contains("is not a master"))
            try await client.command("REPLICAOF", "NO", "ONE")
            try await RedisConnection.connect(RedisConfiguration(url: url)).ping()

            let strange = try await redisError {
                _ = try await RedisConnection.connect(
                    RedisConfiguration(url: "redis+sentinel://127.0.0.1:1,127.0.0.1:\(sentinel.port)/strange"))
            }
            #expect(strange.kind == .connection && strange.isRetriable && !strange.outcomeUnknown)
            #expect(strange.message.contains("knows no master of this name"))
            #expect(strange.message.contains("127.0.0.1:1"))
            await sentinel.stop()
        }
    }

    /// As long as no Sentinel answers, what works goes on.
    @Test func keepsItsConnectionWithoutSentinels() async throws {
        try await TestRedisGroup.with { group in
            let client = RedisClient(try group.redis)
            let id = try await client.command("CLIENT", "ID").integer
            for sentinel in group.sentinels { await sentinel.stop() }
            // Longer than it takes to ask each of them once.
            let end = ContinuousClock.now.advanced(by: .seconds(4))
            _ = try await eventually("each Sentinel was asked") { () async throws -> Bool? in
                let now = try await client.command("CLIENT", "ID").integer
                #expect(now == id)
                return .now > end ? true : nil
            }
        }
    }
}
