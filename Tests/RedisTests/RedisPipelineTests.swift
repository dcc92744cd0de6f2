import EmbeddedServices
import Redis
import Testing
import Texts

@Suite(.timeLimit(.minutes(10))) struct RedisPipelineTests {
    @Test func isReceivedInOrder() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            var items = try RedisSubscription(place, patterns: ["c.*"]).makeAsyncIterator()
            #expect(await items.next() == .joined)
            // From 0 bytes to 64 KiB, any bytes, more than a socket holds.
            let messages = (0..<2_000).map { number in
                [UInt8](repeating: UInt8(number % 256), count: number % 40 == 39 ? 64 << 10 : number)
                    + "\r\n".redisBytes
            }
            async let sending: Void = {
                for start in stride(from: 0, to: messages.count, by: 250) {
                    var pipeline = RedisPipeline()
                    for number in start..<start + 250 {
                        pipeline.publish(messages[number], to: "c.\(number)".redisBytes)
                    }
                    #expect(pipeline.count == 250 && pipeline.size > 250 * 20)
                    try await client.send(pipeline)
                }
            }()
            for number in 0..<messages.count {
                #expect(
                    await items.next() == .message(channel: "c.\(number)", pattern: "c.*", payload: messages[number]))
            }
            try await sending
        }
    }

    /// The first error is thrown, the others are read, and the connection stays usable.
    @Test func anErrorReplyFailsIt() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            var pipeline = RedisPipeline()
            for number in 0..<100 {
                pipeline.append(RedisCommand("INCR", "n"))
                if number % 40 == 39 { pipeline.append(RedisCommand("NONSENSE-\(number)")) }
            }
            let error = try await redisError { try await client.send(pipeline) }
            #expect(error.kind == .server && error.message.contains("NONSENSE-39"))
            #expect(try await client.command("GET", "n").string == "100")
            try await client.send(RedisPipeline())
            #expect(try await client.command("GET", "n").string == "100")
        }
    }

    /// A server is killed while replies are outstanding: the outcome is unknown, and the next call
    /// connects again.
    @Test func aLostConnectionIsReported() async throws {
        try await withRedis { server, place in
            let client = RedisClient(place)
            try await client.ping()
            var pipeline = RedisPipeline()
            pipeline.append(RedisCommand("INCR", "n"))
            pipeline.append(RedisCommand("BLPOP", "none", "0"))
            let sending = Task { try await client.send(pipeline) }
            // It has the first command when it holds the second.
            let other = RedisClient(place)
            while try await other.command("GET", "n").string != "1" {}
            try await server.kill()
            let error = try await redisError { try await sending.value }
            #expect(error.kind == .connection && error.outcomeUnknown && error.isRetriable)
            try await server.restart()
            try await client.connectWithRetries()
            try await client.send(
                {
                    var more = RedisPipeline()
                    more.append(RedisCommand("INCR", "n"))
                    return more
                }())
            #expect(try await client.command("GET", "n").string == "1")
        }
    }

    @Test func cancellingEndsTheWait() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            var pipeline = RedisPipeline()
            pipeline.append(RedisCommand("INCR", "n"))
            pipeline.append(RedisCommand("BLPOP", "none", "0"))
            let sending = Task { [pipeline] in try await client.send(pipeline) }
            let other = RedisClient(place)
            while try await other.command("GET", "n").string != "1" {}
            sending.cancel()
            let error = try await redisError { try await sending.value }
            #expect(error.kind == .cancelled)
            #expect(try await client.command("GET", "n").string == "1")
        }
    }
}
