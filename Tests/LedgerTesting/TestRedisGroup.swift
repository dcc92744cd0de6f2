package import EmbeddedServices
package import Foundation
package import Redis

/// A Redis master, its replica, and three Sentinels that watch them, on loopback.
package struct TestRedisGroup: Sendable {
    package static let name = "group"
    /// Of both servers, beside the password that each has for itself.
    package static let password = "shared"

    package let servers: [PrivateRedis]
    package let sentinels: [TestSentinel]
    /// The address of the group, as a person would write it into `REDIS_URL`.
    package let url: String

    package var redis: RedisConfiguration {
        get throws { try RedisConfiguration(url: url) }
    }

    /// Runs `body` with a group that is stopped afterwards.
    package static func with(_ body: (TestRedisGroup) async throws -> Void) async throws {
        let directory = TestServers.directory("redis-group")
        defer { try? FileManager.default.removeItem(at: directory) }
        var servers: [PrivateRedis] = []
        var sentinels: [TestSentinel] = []
        let result: Result<Void, any Error>
        do {
            for number in 0..<2 {
                let server = try await PrivateRedis.start(
                    directory: directory.appending(path: "\(number)"), listening: .loopback)
                servers.append(server)
                // After a fail-over each has the other's part.
                let client = RedisClient(try RedisConfiguration(url: server.url))
                try await client.command("ACL", "SETUSER", "default", ">\(password)")
                try await client.command("CONFIG", "SET", "masterauth", password)
            }
            let master = try servers[0].port
            let replica = RedisClient(try RedisConfiguration(url: servers[1].url))
            try await replica.command("REPLICAOF", "127.0.0.1", "\(master)")
            for _ in 0..<3 {
                sentinels.append(try await TestSentinel.start(in: directory, watching: master, password: password))
            }
            let places = sentinels.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
            let group = TestRedisGroup(
                servers: servers, sentinels: sentinels, url: "redis+sentinel://:\(password)@\(places)/\(name)")
            try await group.waitUntilComplete()
            result = .success(try await body(group))
        } catch {
            result = .failure(error)
        }
        for sentinel in sentinels { await sentinel.stop() }
        for server in servers { try await server.stop() }
        try result.get()
    }

    /// Until each Sentinel knows the replica and the others: before that there is no fail-over.
    private func waitUntilComplete() async throws {
        for sentinel in sentinels {
            _ = try await eventually("the Sentinel knows the group") {
                let answer = try await sentinel.ask("SENTINEL", "MASTER", Self.name).array ?? []
                let facts = Dictionary(
                    stride(from: 0, to: answer.count - 1, by: 2).map { (answer[$0].string, answer[$0 + 1].string) },
                    uniquingKeysWith: { $1 })
                return facts["num-slaves"] == "1" && facts["num-other-sentinels"] == "2" ? true : nil
            }
        }
        _ = try await eventually("the replica is in step") {
            let client = RedisClient(try RedisConfiguration(url: servers[0].url))
            let info = try await client.command("INFO", "replication").string
            return info?.contains("state=online") == true ? true : nil
        }
    }

    /// The part of each server that answers: `master` or `slave`.
    package func roles() async throws -> [String?] {
        var roles: [String?] = []
        for server in servers {
            do throws(RedisError) {
                let connection = try await RedisConnection.connect(try RedisConfiguration(url: server.url))
                roles.append(try await connection.command("ROLE").array?.first?.string)
            } catch {
                roles.append(nil)
            }
        }
        return roles
    }
}

extension PrivateRedis {
    /// The port on loopback.
    package nonisolated var port: UInt16 {
        get throws {
            guard case .server(.tcp(_, let port)) = try RedisConfiguration(url: url).address else {
                throw CocoaError(.featureUnsupported)
            }
            return port
        }
    }
}

/// A Redis Sentinel. It ends with this process.
package struct TestSentinel: Sendable {
    package let port: UInt16
    private let child: ChildProcess

    package static func start(
        in directory: URL, watching master: UInt16, password: String
    ) async throws -> TestSentinel {
        while true {
            let (listener, port) = try Sockets.listen()
            close(listener)
            let home = directory.appending(path: "sentinel-\(port)")
            try FileManager.default.createDirectory(at: home, withIntermediateDirectories: true)
            let file = home.appending(path: "sentinel.conf")
            try """
            port \(port)
            bind 127.0.0.1
            dir \(home.path)
            sentinel monitor \(TestRedisGroup.name) 127.0.0.1 \(master) 2
            sentinel auth-pass \(TestRedisGroup.name) \(password)
            sentinel down-after-milliseconds \(TestRedisGroup.name) 1000
            sentinel failover-timeout \(TestRedisGroup.name) 5000

            """.write(to: file, atomically: true, encoding: .utf8)
            let child = try await ChildProcess.start(
                ["/usr/bin/setpriv", "--pdeathsig", "KILL", "redis-server", file.path, "--sentinel"],
                environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"], log: home.appending(path: "log").path)
            let sentinel = TestSentinel(port: port, child: child)
            let answers = try await eventually("the Sentinel answers or has ended") { () -> Bool? in
                if await child.exit(within: .milliseconds(10)) != nil { return false }
                do {
                    _ = try await sentinel.ask("PING")
                    return true
                } catch is RedisError {
                    return nil
                }
            }
            // Another process has taken the port.
            if answers { return sentinel }
        }
    }

    package func ask(_ words: String...) async throws -> RedisValue {
        let connection = try await RedisConnection.connect(
            RedisConfiguration(address: .tcp(host: "127.0.0.1", port: port)))
        let answer = try await connection.send([RedisCommand(arguments: words.map(\.redisBytes))])[0].get()
        await connection.close()
        return answer
    }

    package func stop() async {
        child.signal(SIGKILL)
        _ = await child.exit()
    }
}
