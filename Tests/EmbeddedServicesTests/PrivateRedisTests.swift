import Foundation
import LedgerTesting
import Redis
import Testing
import Texts

@testable import EmbeddedServices

@Suite(.timeLimit(.minutes(10))) struct PrivateRedisTests {
    @Test func restartsKeepTheURLAndLoseTheData() async throws {
        try await withDirectory { directory in
            let server = try await PrivateRedis.start(directory: directory)
            let client = RedisClient(try RedisConfiguration(url: server.url))
            try await client.command("SET", "k", "v")
            try await server.kill()
            #expect(await server.pid == nil)
            try await server.restart()
            #expect(try await client.command("GET", "k") == .null)
            let error = try await #require(throws: EmbeddedServiceError.self) {
                _ = try await PrivateRedis.start(directory: directory)
            }
            #expect(error.description.contains("already run by another process"))
            try await server.stop()
            #expect(!FileManager.default.fileExists(atPath: directory.appending(path: "dump.rdb").path))
        }
    }

    @Test func aServerThatOutlivedItsOwnerIsStoppedFirst() async throws {
        try await withDirectory { directory in
            try await PrivateRedis.start(directory: directory).stop()
            let user = try ServiceUser.current()
            let command = [
                try Programs.find("redis-server", package: "redis-server"),
                directory.appending(path: "redis.conf").path,
            ]
            let orphan = try await ChildProcess.start(
                user.command(command, parentDeathSignal: "clear"), log: directory.appending(path: "orphan.log").path)
            let server = try await PrivateRedis.start(directory: directory)
            // The process has ended, but this process may not have reaped it yet.
            #expect(await orphan.exit(within: .seconds(60)) != nil)
            try await server.stop()
        }
    }

    @Test func thePasswordIsNeededAndNotOnTheCommandLine() async throws {
        try await withDirectory { directory in
            let server = try await PrivateRedis.start(directory: directory)
            var place = try RedisConfiguration(url: server.url)
            let pid = try #require(await server.pid)
            let line = try String(contentsOf: URL(filePath: "/proc/\(pid)/cmdline"), encoding: .utf8)
            let password = try #require(place.password).revealed
            #expect(!line.contains(password))
            place.password = nil
            await #expect(throws: RedisError.self) { _ = try await RedisConnection.connect(place) }
            try await server.stop()
        }
    }

    @Test func aBrokenSettingIsExplainedByTheLog() async throws {
        try await withDirectory { directory in
            let error = try await #require(throws: EmbeddedServiceError.self) {
                _ = try await PrivateRedis.start(directory: directory, settings: ["no-such-setting": "1"])
            }
            #expect(error.description.contains("no-such-setting"))
        }
    }
}
