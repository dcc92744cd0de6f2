import Foundation
import LedgerTesting
import PrivateFiles
import Redis
import Testing

@testable import EmbeddedServices

/// Only the server's user and root can connect to a private server or listen in its place.
@Suite(.timeLimit(.minutes(5))) struct SocketTests {
    private func mode(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    /// The local addresses of the TCP sockets on which a process listens.
    private func listening(_ pid: Int32) throws -> [String] {
        let own = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\($0)")
        }
        return try ["tcp", "tcp6"].flatMap { table in
            try String(contentsOfFile: "/proc/net/\(table)", encoding: .utf8).split(separator: "\n").dropFirst()
                .map { $0.split(separator: " ").map(String.init) }
                .filter { $0[3] == "0A" && own.contains("socket:[\($0[9])]") }.map { $0[1] }
        }
    }

    @Test func aServerListensOnlyOnItsSocket() async throws {
        try await withDirectory { directory in
            try await withPostgres(directory.appending(path: "postgres")) { postgres async throws in
                #expect(try mode(directory.appending(path: "postgres").path) == 0o700)
                #expect(try mode(directory.appending(path: "postgres/.s.PGSQL.5432").path) == 0o700)
                #expect(try listening(try #require(await postgres.pid)) == [])
            }
            let redis = try await PrivateRedis.start(directory: directory.appending(path: "redis"))
            #expect(try mode(directory.appending(path: "redis").path) == 0o700)
            #expect(try mode(directory.appending(path: "redis/redis.sock").path) == 0o700)
            #expect(try listening(try #require(await redis.pid)) == [])
            try await redis.stop()
        }
    }

    /// A killed server left a lock whose process number now belongs to another process of its user.
    @Test func aStaleLockOfTheSocketIsRemoved() async throws {
        try await withDirectory { directory in
            try await withPostgres(directory) { try await $0.kill() }
            let user = try ServiceUser.current()
            let other = try await ChildProcess.start(
                user.command([try Programs.find("sleep", package: "coreutils"), "600"], parentDeathSignal: "KILL"),
                log: "/dev/null")
            let lock = "\(other.pid)\n\(directory.path)/postgres-data\n0\n5432\n\(directory.path)\n"
            try ServiceDirectory(directory, user: user).write(lock, to: ".s.PGSQL.5432.lock")
            try await withPostgres(directory) { server in try await expect(server.url, "SELECT 1", gives: "1") }
            other.signal(SIGKILL)
            _ = await other.exit()
        }
    }

    @Test func aServerListensOnAPortIfAsked() async throws {
        try await withDirectory { directory in
            let redis = try await PrivateRedis.start(directory: directory, listening: .loopback)
            #expect(redis.url.contains("@127.0.0.1:"))
            #expect(try listening(try #require(await redis.pid)).count == 1)
            try await redis.stop()
        }
    }

    /// A socket's path has at most 107 bytes, and a comma in it would be two hosts.
    @Test(arguments: [String(repeating: "long", count: 25), "a, b"])
    func aDirectoryThatCannotHoldASocketGetsOneInTmp(_ name: String) async throws {
        try await withDirectory { directory in
            _ = try DirectoryHandle.makePrivate(directory.path, passage: .group(try ServiceUser.current().gid))
            let place = directory.appending(path: name)
            var sockets = ""
            try await withPostgres(place) { server in
                sockets = try #require(server.temporarySockets).path
                let items = try #require(URLComponents(string: server.url)?.queryItems)
                #expect(items.first { $0.name == "host" }?.value == sockets && sockets.hasPrefix("/tmp/jobledger-"))
                // The address names the user who must run the server, and libpq checks it before it
                // sends anything.
                #expect(items.first { $0.name == "requirepeer" }?.value == (try ServiceUser.current().name))
                #expect(try mode(sockets) == 0o700)
                try await expect(server.url, "SELECT 1", gives: "1")
                // After a cleaner of /tmp, the server cannot be reached; it is started again at the
                // same address.
                try FileManager.default.removeItem(atPath: sockets)
                try await server.stopUnreachable()
                #expect(await server.pid == nil)
                try await server.restart()
                try await expect(server.url, "SELECT 1", gives: "1")
            }
            #expect(!FileManager.default.fileExists(atPath: sockets), "the directory in /tmp must be removed")
            // A stranger who takes the free name gains nothing: the next server chooses another.
            try #require(mkdir(sockets, 0o700) == 0)
            defer { try? FileManager.default.removeItem(atPath: sockets) }
            try await withPostgres(place) { server in
                #expect(try #require(server.temporarySockets).path != sockets)
                try await expect(server.url, "SELECT 1", gives: "1")
            }

            let redis = try await PrivateRedis.start(directory: place)
            let own = try #require(redis.temporarySockets).path
            let connection = try await RedisConnection.connect(RedisConfiguration(url: redis.url))
            try await connection.ping()
            var foreign = try RedisConfiguration(url: redis.url)
            #expect(foreign.peer == (try ServiceUser.current().name))
            foreign.peer = "somebody"
            let error = try await #require(throws: RedisError.self) { _ = try await RedisConnection.connect(foreign) }
            #expect(error.message.contains("listens there, and not somebody: nothing was sent"))
            try await redis.stop()
            #expect(!FileManager.default.fileExists(atPath: own))
        }
    }

    /// The directory that a killed server left in /tmp is used again by that server, and not by a
    /// server in a copy of its directory.
    @Test func aSocketDirectoryBelongsToOneServer() async throws {
        try await withDirectory { directory in
            let user = try ServiceUser.current()
            _ = try DirectoryHandle.makePrivate(directory.path, passage: .group(user.gid))
            let (original, copy) = (
                directory.appending(path: String(repeating: "o", count: 100)),
                directory.appending(path: String(repeating: "c", count: 100))
            )
            let service = try ServiceDirectory(original, user: user)
            let first = try SocketDirectory.choose("redis", "s", service)
            #expect(try SocketDirectory.choose("redis", "s", service).path == first.path)
            try FileManager.default.copyItem(at: original, to: copy)
            chown(copy.path, user.uid, user.gid)
            let second = try SocketDirectory.choose("redis", "s", ServiceDirectory(copy, user: user))
            #expect(second.path != first.path)
            for sockets in [first, second] { try sockets.remove() }
            #expect(
                !FileManager.default.fileExists(atPath: first.path)
                    && !FileManager.default.fileExists(atPath: second.path))
        }
    }

    /// A process without descriptors cannot see whose the directory is. So it neither makes another
    /// in its place nor leaves it behind in silence. In a process of its own, since the limit holds
    /// for all that runs in it.
    @Test func aSocketDirectoryThatCannotBeReadIsAnError() async {
        await #expect(processExitsWith: .success) {
            try await withDirectory { directory in
                let user = try ServiceUser.current()
                _ = try DirectoryHandle.makePrivate(directory.path, passage: .group(user.gid))
                let place = directory.appending(path: String(repeating: "long", count: 25))
                let sockets = try SocketDirectory.choose("redis", "s", ServiceDirectory(place, user: user))
                var limit = rlimit()
                #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
                let usual = limit.rlim_cur
                limit.rlim_cur = 0
                #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
                #expect(throws: FileFailure.self) { try sockets.prepare() }
                #expect(throws: FileFailure.self) { try sockets.remove() }
                limit.rlim_cur = usual
                #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
                try sockets.remove()
                #expect(!FileManager.default.fileExists(atPath: sockets.path))
            }
        }
    }

    /// A running server without a socket is stopped, so that its owner restarts it.
    @Test func aServerWhoseSocketWasRemovedIsStopped() async throws {
        try await withDirectory { directory in
            let redis = try await PrivateRedis.start(directory: directory)
            try await redis.stopUnreachable()
            #expect(await redis.pid != nil)
            try FileManager.default.removeItem(at: directory.appending(path: "redis.sock"))
            try await redis.stopUnreachable()
            #expect(await redis.pid == nil)
            try await redis.restart()
            try await RedisConnection.connect(RedisConfiguration(url: redis.url)).ping()
            try await redis.stop()
        }
    }

    /// The server's user can write the file that keeps the path. That must not make root create a
    /// directory elsewhere.
    @Test func aForeignSocketDirectoryIsNotUsed() async throws {
        try await withDirectory { directory in
            let user = try ServiceUser.current()
            let place = directory.appending(path: String(repeating: "long", count: 25))
            _ = try DirectoryHandle.makePrivate(directory.path, passage: .group(user.gid))
            let service = try ServiceDirectory(place, user: user)
            let elsewhere = directory.appending(path: "elsewhere").path
            try service.write(elsewhere, to: "redis.socket-directory")
            let chosen = try SocketDirectory.choose("redis", "s", service)
            #expect(chosen.path.hasPrefix("/tmp/jobledger-"))
            #expect(!FileManager.default.fileExists(atPath: elsewhere))
            try chosen.remove()
        }
    }

    /// The server's user replaced the log by a link. Root must not write where it points.
    @Test func aLogThatIsALinkIsRefused() async throws {
        try await withDirectory { directory in
            let redis = directory.appending(path: "redis")
            try await PrivateRedis.start(directory: redis).stop()
            let victim = directory.appending(path: "victim").path
            try FileManager.default.removeItem(at: redis.appending(path: "redis.log"))
            symlink(victim, redis.appending(path: "redis.log").path)
            await #expect(throws: FileFailure.self) { _ = try await PrivateRedis.start(directory: redis) }
            #expect(!FileManager.default.fileExists(atPath: victim))
        }
    }
}
