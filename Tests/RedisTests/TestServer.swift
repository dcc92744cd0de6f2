import EmbeddedServices
import Foundation
import Redis
import Testing

/// Runs `body` with a private Redis in a directory that is removed afterwards.
func withRedis(
    settings: [String: String] = [:], listening: Listening = .unixSocket,
    _ body: (PrivateRedis, RedisConfiguration) async throws -> Void
) async throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "redis-tests-\(UUID())")
    defer { try? FileManager.default.removeItem(at: directory) }
    let server = try await PrivateRedis.start(directory: directory, settings: settings, listening: listening)
    do {
        try await body(server, try RedisConfiguration(url: server.url))
    } catch {
        try await server.stop()
        throw error
    }
    try await server.stop()
}

/// The error that `work` throws, which must be a `RedisError`.
func redisError(of work: () async throws -> Void) async throws -> RedisError {
    try await #require(throws: RedisError.self) { try await work() }
}
