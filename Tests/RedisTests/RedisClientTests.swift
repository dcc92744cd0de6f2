import BlockingIO
import EmbeddedServices
import Foundation
import Redis
import Testing
import Texts

@Suite(.timeLimit(.minutes(10))) struct RedisClientTests {
    @Test func aKilledServerFailsCallsUntilItIsBack() async throws {
        try await withRedis { server, place in
            let client = RedisClient(place)
            try await client.ping()
            try await server.kill()
            let error = try await redisError { try await client.ping() }
            #expect(error.kind == .connection && error.isRetriable && !error.outcomeUnknown)
            // During the backoff the same error is returned without an attempt.
            #expect(try await redisError { try await client.ping() } == error)
            async let connected: Void = client.connectWithRetries()
            try await server.restart()
            try await connected
            try await client.command("SET", "k", "v")
        }
    }

    @Test func aServerThatDiesDuringACommandLeavesItsOutcomeUnknown() async throws {
        try await withRedis { server, place in
            let client = RedisClient(place)
            let watcher = try await RedisConnection.connect(place)
            let blocked = Task { try await client.command("BLPOP", "never", 0, within: .seconds(600)) }
            while try await watcher.command("INFO", "clients").string?.contains("blocked_clients:1\r") != true {}
            try await server.kill()
            let error = try await redisError { _ = try await blocked.value }
            #expect(error.kind == .connection && error.isRetriable && error.outcomeUnknown)
        }
    }

    @Test func anIdleConnectionThatTheServerClosedIsReplaced() async throws {
        try await withRedis { _, place in
            let client = RedisClient(place)
            try await client.ping()
            let other = try await RedisConnection.connect(place)
            try await other.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            try await client.ping()
        }
    }

    @Test func cancellationEndsTheRetries() async throws {
        let client = RedisClient(
            try RedisConfiguration(url: "redis://127.0.0.1:1"),
            backoff: Backoff(first: .seconds(600), longest: .seconds(600)))
        let error = try await redisError { try await client.ping() }
        let retrying = Task { try await client.connectWithRetries() }
        retrying.cancel()
        let end = try await redisError { try await retrying.value }
        #expect(end.kind == .cancelled)
        #expect(error.kind == .connection)
    }

    @Test func retriesEndAtAWrongPassword() async throws {
        try await withRedis { _, place in
            var place = place
            place.password = SecretText("wrong")
            let client = RedisClient(place)
            let error = try await redisError { try await client.connectWithRetries() }
            #expect(error.kind == .server)
        }
    }
}
