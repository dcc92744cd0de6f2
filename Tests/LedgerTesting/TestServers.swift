import EmbeddedServices
package import Foundation
package import Redis

/// The Postgres and Redis of a test run. They start when the first test needs them, and all tests
/// share them that do not damage them.
///
/// They listen on TCP, because tests put proxies before them. They end with the process, and the
/// next run removes their directories.
package actor TestServers {
    package static let shared = TestServers()

    private var starting: Task<(PrivatePostgres, PrivateRedis), any Error>?

    private static let root = FileManager.default.temporaryDirectory.appending(path: "jobledger-tests-\(geteuid())")

    /// The path of a new directory for a test's files or servers.
    package static func directory(_ purpose: String) -> URL {
        root.appending(path: "\(getpid())-\(purpose)-\(UUID().uuidString.prefix(8))")
    }

    /// The address of the server, with the user who owns everything in it.
    package func postgresURL() async throws -> String { try await servers().0.url }

    package func redis() async throws -> RedisConfiguration { try RedisConfiguration(url: try await servers().1.url) }

    package func redisURL() async throws -> String { try await servers().1.url }

    private func servers() async throws -> (PrivatePostgres, PrivateRedis) {
        if let starting { return try await starting.value }
        let task = Task {
            Self.removeDirectoriesOfEarlierRuns()
            async let postgres = PrivatePostgres.start(
                directory: Self.directory("postgres"), settings: ["fsync": "off", "max_connections": "600"],
                listening: .loopback)
            async let redis = PrivateRedis.start(directory: Self.directory("redis"), listening: .loopback)
            return try await (postgres, redis)
        }
        starting = task
        return try await task.value
    }

    /// Removes the directories of processes that have ended.
    private static func removeDirectoriesOfEarlierRuns() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: root.path)) ?? [] {
            guard let process = name.split(separator: "-").first.flatMap({ Int32($0) }), kill(process, 0) != 0 else {
                continue
            }
            try? FileManager.default.removeItem(at: root.appending(path: name))
        }
    }
}
