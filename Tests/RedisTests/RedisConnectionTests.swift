import EmbeddedServices
import Foundation
import Redis
import Testing
import Texts

@Suite(.timeLimit(.minutes(10))) struct RedisConnectionTests {
    @Test func pipelineLargerThanEveryBuffer() async throws {
        try await withRedis { _, place in
            let connection = try await RedisConnection.connect(place)
            let value = [UInt8](repeating: 0x78, count: 8_000)
            // A server that cannot send its 80 MB of replies stops reading, so the client must read
            // while it writes.
            let replies = try await connection.send(
                (0..<10_000).map { RedisCommand("ECHO", "\($0) ".redisBytes + value) })
            #expect(replies.count == 10_000)
            for (number, reply) in replies.enumerated() where reply != .bulk("\(number) ".redisBytes + value) {
                Issue.record("reply \(number) is another's")
                break
            }
        }
    }

    @Test func oneArgumentLargerThanWhatIsKeptInFlight() async throws {
        try await withRedis { _, place in
            let connection = try await RedisConnection.connect(place)
            let value = [UInt8](repeating: 7, count: 20 << 20)
            let replies = try await connection.send([
                RedisCommand("PING"), RedisCommand("ECHO", value), RedisCommand("PING"),
            ])
            #expect(replies == [.simpleString("PONG"), .bulk(value), .simpleString("PONG")])
        }
    }

    @Test func everyByteSurvives() async throws {
        try await withRedis { _, place in
            let connection = try await RedisConnection.connect(place)
            let key = Array(UInt8.min...UInt8.max)
            let value: [UInt8] = [0, 13, 10, 0, 255, 36, 42] + key
            try await connection.command("SET", key, value)
            #expect(try await connection.command("GET", key) == .bulk(value))
            try await connection.command("SET", "", [UInt8]())
            #expect(try await connection.command("GET", "") == .bulk([]))
        }
    }

    @Test func everyKindOfReply() async throws {
        try await withRedis { _, place in
            let connection = try await RedisConnection.connect(place)
            let replies = try await connection.send([
                RedisCommand("EVAL", "return {1, 'a', {}, false, redis.status_reply('S')}", 0),
                RedisCommand("GET", "none"),
                RedisCommand("BLPOP", "none", "0.001"),
            ])
            #expect(
                replies == [.array([.integer(1), .bulk([0x61]), .array([]), .null, .simpleString("S")]), .null, .null])
            #expect(try await connection.send([]).isEmpty)
        }
    }

    @Test func anErrorTakesThePlaceOfItsReply() async throws {
        try await withRedis { _, place in
            let connection = try await RedisConnection.connect(place)
            let replies = try await connection.send([
                RedisCommand("SET", "k", "v"), RedisCommand("INCR", "k"), RedisCommand("NONSENSE"),
                RedisCommand("GET", "k"),
            ])
            #expect(replies[0] == .simpleString("OK"))
            #expect(throws: RedisError.self) { try replies[1].get() }
            #expect(throws: RedisError.self) { try replies[2].get() }
            #expect(replies[3].string == "v")
            let error = try await redisError { try await connection.command("INCR", "k") }
            #expect(error.kind == .server && !error.isRetriable)
            #expect(await connection.isOpen)
        }
    }

    @Test func userPasswordAndDatabase() async throws {
        try await withRedis(settings: ["user": "alice on >p@ss/w:rd% ~* &* +@all"], listening: .loopback) { _, place in
            guard case .server(.tcp(let host, let port)) = place.address else {
                Issue.record("\(place)")
                return
            }
            let url = "redis://alice:p%40ss%2Fw%3Ard%25@\(host):\(port)/3"
            let connection = try await RedisConnection.connect(RedisConfiguration(url: url))
            #expect(try await connection.command("ACL", "WHOAMI").string == "alice")
            #expect(try await connection.command("CLIENT", "INFO").string?.contains(" db=3 ") == true)
            for wrong in ["redis://alice:x@\(host):\(port)", "redis://\(host):\(port)"] {
                let error = try await redisError {
                    _ = try await RedisConnection.connect(RedisConfiguration(url: wrong))
                }
                #expect(error.kind == .server && !error.isRetriable)
            }
        }
    }

    @Test func cancellingABlockedCommandEndsIt() async throws {
        try await withRedis { _, place in
            let connection = try await RedisConnection.connect(place)
            let watcher = try await RedisConnection.connect(place)
            let blocked = Task { try await connection.command("BLPOP", "never", 0, within: .seconds(600)) }
            while try await watcher.command("INFO", "clients").string?.contains("blocked_clients:1\r") != true {}
            blocked.cancel()
            let error = try await redisError { _ = try await blocked.value }
            #expect(error.kind == .cancelled && error.outcomeUnknown)
            // A late reply must not answer another command.
            #expect(await !connection.isOpen)
            #expect(try await redisError { try await connection.ping() }.kind == .connection)
        }
    }

    @Test func manyBlockedCommandsLeaveThePoolFree() async throws {
        try await withRedis { _, place in
            let watcher = try await RedisConnection.connect(place)
            // More waits than the cooperative pool has threads: waits that ran there would leave no
            // thread to continue with.
            let count = ProcessInfo.processInfo.activeProcessorCount * 2
            let blocked = Task {
                try await withThrowingTaskGroup { group in
                    for _ in 0..<count {
                        group.addTask {
                            let connection = try await RedisConnection.connect(place)
                            try await connection.command("BLPOP", "list", 0, within: .seconds(600))
                        }
                    }
                    try await group.waitForAll()
                }
            }
            while try await watcher.command("INFO", "clients").string?.contains("blocked_clients:\(count)\r") != true {}
            _ = try await watcher.send((0..<count).map { RedisCommand("RPUSH", "list", $0) })
            try await blocked.value
        }
    }

    @Test func aServerThatStopsAnsweringTimesOut() async throws {
        try await withRedis { server, place in
            var place = place
            place.replyTimeout = .milliseconds(200)
            let connection = try await RedisConnection.connect(place)
            let pid = try #require(await server.pid)
            kill(pid, SIGSTOP)
            let error = try await redisError { try await connection.command("INCR", "k") }
            kill(pid, SIGCONT)
            #expect(error.kind == .timedOut && error.isRetriable && error.outcomeUnknown)
        }
    }

    @Test func unreachablePlacesAreRetriable() async throws {
        for url in ["redis://127.0.0.1:1", "unix:///nonexistent/redis.sock"] {
            let error = try await redisError { _ = try await RedisConnection.connect(RedisConfiguration(url: url)) }
            #expect(error.kind == .connection && error.isRetriable && !error.outcomeUnknown)
        }
    }

    @Test(arguments: [Listening.unixSocket, .loopback]) func bothWays(_ listening: Listening) async throws {
        try await withRedis(listening: listening) { _, place in
            switch (listening, place.address) {
            case (.unixSocket, .server(.unixSocket)), (.loopback, .server(.tcp)): break
            default: Issue.record("\(place)")
            }
            try await RedisConnection.connect(place).ping()
        }
    }
}
