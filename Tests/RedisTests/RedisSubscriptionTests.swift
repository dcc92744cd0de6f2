import BlockingIO
import EmbeddedServices
import Foundation
import Redis
import Testing
import Texts

@Suite(.timeLimit(.minutes(10))) struct RedisSubscriptionTests {
    typealias Item = RedisSubscription.Item

    @Test func joinsAndDelivers() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            var items = try RedisSubscription(place, channels: ["a", "a", "b"], patterns: ["x.*"]).makeAsyncIterator()
            #expect(await items.next() == .joined)
            let payload: [UInt8] = [0, 13, 10, 255]
            try await client.command("PUBLISH", "b", payload)
            try await client.command("PUBLISH", "elsewhere", payload)
            try await client.command("PUBLISH", "x.y", payload)
            #expect(await items.next() == .message(channel: "b", pattern: nil, payload: payload))
            #expect(await items.next() == .message(channel: "x.y", pattern: "x.*", payload: payload))
        }
    }

    /// Memory is bounded whatever is published: the connection is closed, and reopened after the
    /// message.
    @Test func aMessageThatIsTooLongIsNotKept() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            // Otherwise the server closes the connection itself, at 32 MB.
            try await client.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
            var items = try RedisSubscription(place, channels: ["c"]).makeAsyncIterator()
            #expect(await items.next() == .joined)
            try await client.command("PUBLISH", "c", [UInt8](repeating: 0x78, count: 65 << 20))
            guard case .lost(let error)? = await items.next() else {
                Issue.record("it was taken")
                return
            }
            #expect(error.kind == .protocolViolation && error.message.contains("64 MiB"))
            #expect(await items.next() == .joined)
            try await client.command("PUBLISH", "c", "after")
            #expect(await items.next() == .message(channel: "c", pattern: nil, payload: "after".redisBytes))
        }
    }

    @Test func reportsALossAndJoinsAgain() async throws {
        try await withRedis { server, place in
            let client = RedisClient(place)
            var items = try RedisSubscription(place, channels: ["c"]).makeAsyncIterator()
            #expect(await items.next() == .joined)
            try await client.command("PUBLISH", "c", "before")
            try await server.kill()
            // Messages that had arrived are not lost with the connection.
            #expect(await items.next() == .message(channel: "c", pattern: nil, payload: "before".redisBytes))
            #expect(await items.next()?.isLost == true)
            #expect(await items.next()?.isLost == true)
            try await server.restart()
            var item = await items.next()
            while item?.isLost == true { item = await items.next() }
            #expect(item == .joined)
            try await client.connectWithRetries()
            try await client.command("PUBLISH", "c", "after")
            #expect(await items.next() == .message(channel: "c", pattern: nil, payload: "after".redisBytes))
        }
    }

    @Test func aSilentServerCountsAsLost() async throws {
        try await withRedis { server, place in
            var place = place
            place.replyTimeout = .milliseconds(200)
            place.connectTimeout = .milliseconds(200)
            var items = try RedisSubscription(place, channels: ["c"], silence: .milliseconds(100)).makeAsyncIterator()
            #expect(await items.next() == .joined)
            let pid = try #require(await server.pid)
            kill(pid, SIGSTOP)
            guard case .lost(let error) = await items.next() else {
                Issue.record("not lost")
                return
            }
            #expect(error.kind == .timedOut)
            kill(pid, SIGCONT)
            var item = await items.next()
            while item?.isLost == true { item = await items.next() }
            #expect(item == .joined)
        }
    }

    @Test func aQuietServerThatAnswersIsNotLost() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            var items = try RedisSubscription(place, channels: ["c"], silence: .milliseconds(5)).makeAsyncIterator()
            #expect(await items.next() == .joined)
            async let item = items.next()
            // The server has received PINGs when it has counted some.
            while try await pings(client) < 5 {}
            try await client.command("PUBLISH", "c", "still here")
            #expect(await item == .message(channel: "c", pattern: nil, payload: "still here".redisBytes))
        }
    }

    @Test func cancellingTheConsumerEndsTheWait() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            let subscription = try RedisSubscription(place, channels: ["c"])
            let (joined, signal) = AsyncStream.makeStream(of: Void.self)
            let consumer = Task {
                for await item in subscription where item == .joined { signal.yield() }
            }
            for await _ in joined { break }
            consumer.cancel()
            await consumer.value
            // The connection is closed with the iterator.
            while try await client.command("PUBSUB", "NUMSUB", "c").array?.last?.integer != 0 {}
        }
    }

    @Test func cancellingTheConsumerEndsTheBackoff() async throws {
        let place = try RedisConfiguration(url: "redis://127.0.0.1:1")
        let subscription = try RedisSubscription(
            place, channels: ["c"], backoff: Backoff(first: .seconds(600), longest: .seconds(600)))
        let (lost, signal) = AsyncStream.makeStream(of: Void.self)
        let consumer = Task { for await _ in subscription { signal.yield() } }
        for await _ in lost { break }
        consumer.cancel()
        await consumer.value
    }

    @Test func aSlowConsumerCostsNoMemory() async throws {
        try await withRedis(settings: ["client-output-buffer-limit": "pubsub 4mb 2mb 10"]) { _, place in
            var items = try RedisSubscription(place, channels: ["c"]).makeAsyncIterator()
            #expect(await items.next() == .joined)
            let client = RedisClient(place)
            let message = RedisCommand("PUBLISH", "c", [UInt8](repeating: 1, count: 64 << 10))
            // 128 MiB. The replies show that the server has processed each.
            for _ in 0..<32 { _ = try await client.send(Array(repeating: message, count: 64)) }
            // The server closed the connection, which shows after the bytes that the socket held.
            var item = await items.next()
            var received = 0
            while case .message = item {
                received += 1
                item = await items.next()
            }
            #expect(item?.isLost == true)
            // The kernel's buffers and the server's 4 MiB arrive, not the rest.
            #expect(received < 1024, "64 KiB each")
            #expect(await items.next() == .joined)
        }
    }

    /// Topics are added and removed while it runs, and each item is handled where it is read.
    @Test func topicsChangeUnderWay() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            let topics = RedisTopics(RedisTopics.Names(channels: ["a"]))
            let (items, heard) = AsyncStream.makeStream(of: Item.self)
            let listening = Task { await RedisSubscription(place, topics: topics).each { heard.yield($0) } }
            var iterator = items.makeAsyncIterator()
            #expect(await iterator.next() == .joined)
            topics.change { $0 = RedisTopics.Names(channels: ["b", "c"], patterns: ["x.*"]) }
            #expect(await iterator.next() == .joined)
            while try await client.command("PUBSUB", "NUMSUB", "a").array?.last?.integer != 0 {}
            for channel in ["a", "b", "x.y", "c"] { try await client.command("PUBLISH", channel, "m") }
            let payload = "m".redisBytes
            #expect(await iterator.next() == .message(channel: "b", pattern: nil, payload: payload))
            #expect(await iterator.next() == .message(channel: "x.y", pattern: "x.*", payload: payload))
            #expect(await iterator.next() == .message(channel: "c", pattern: nil, payload: payload))
            // No topics for a while, and then some again: the connection stays open.
            topics.change { $0 = RedisTopics.Names() }
            while try await client.command("PUBSUB", "NUMPAT").integer != 0 {}
            topics.change { $0.channels.insert("d") }
            #expect(await iterator.next() == .joined)
            listening.cancel()
            await listening.value
        }
    }

    @Test func needsAChannel() throws {
        let place = RedisConfiguration(address: .tcp(host: "h", port: 1))
        #expect(throws: RedisError.self) { try RedisSubscription(place) }
    }

    private func pings(_ client: RedisClient) async throws -> Int {
        let text = try await client.command("INFO", "commandstats").string ?? ""
        guard let line = text.split(separator: "\r\n").first(where: { $0.hasPrefix("cmdstat_ping:calls=") }) else {
            return 0
        }
        return Int(line.dropFirst("cmdstat_ping:calls=".count).prefix { $0 != "," }) ?? 0
    }
}

extension RedisSubscription.Item {
    var isLost: Bool {
        if case .lost = self { true } else { false }
    }
}
