import Foundation
import LedgerTesting
import PrivateFiles
import Redis
import Testing

@testable import EmbeddedServices

/// A path may lead to another directory than before, or to a different one in a container. So
/// servers are recognized by the identity of their directory.
@Suite(.timeLimit(.minutes(5))) struct IdentityTests {
    /// The directory of a running server was renamed, and another server runs at its path.
    @Test func aServerInAReplacedDirectoryIsLeftAlone() async throws {
        try await withDirectory { directory in
            _ = try DirectoryHandle.makePrivate(directory.path, passage: .group(try ServiceUser.current().gid))
            let (place, away) = (directory.appending(path: "place"), directory.appending(path: "away"))
            let first = try await PrivateRedis.start(directory: place.appending(path: "redis"))
            let old = try await PrivatePostgres.start(
                directory: place.appending(path: "postgres"), settings: ["fsync": "off"])
            try FileManager.default.moveItem(at: place, to: away)
            let second = try await PrivateRedis.start(directory: place.appending(path: "redis"))
            let new = try await PrivatePostgres.start(
                directory: place.appending(path: "postgres"), settings: ["fsync": "off"])
            #expect(await first.pid != nil, "a server at the same path must not stop it as an orphan")
            #expect(await old.pid != nil)
            await #expect(throws: DirectoryLost.self) { try await first.restart() }
            await #expect(throws: DirectoryLost.self) { try await old.restart() }
            try await RedisConnection.connect(RedisConfiguration(url: second.url)).ping()
            try await expect(new.url, "SELECT 1", gives: "1")
            try await second.stop()
            try await new.stop()
            try await old.stop()
        }
    }

    @Test func aLockWhoseFileWasRemovedIsNotHeld() async throws {
        try await withDirectory { directory in
            let handle = try DirectoryHandle.makePrivate(directory.path)
            let lock = try DirectoryLock(path: handle.path("lock"), for: "the test")
            try lock.requireHeld()
            try handle.remove("lock")
            #expect(throws: DirectoryLost.self) { try lock.requireHeld() }
            let other = try DirectoryLock(path: handle.path("lock"), for: "the test")
            try other.requireHeld()
            #expect(throws: DirectoryLost.self) { try lock.requireHeld() }
        }
    }

    /// A container whose processes are visible here has a server at the same path, in its own
    /// directory.
    @Test(.enabled("only root can make mount namespaces", { try await canUnshare() }))
    func aServerInAnotherMountNamespaceIsLeftAlone() async throws {
        try await withDirectory { directory in
            let user = try ServiceUser.current()
            _ = try DirectoryHandle.makePrivate(directory.path, passage: .group(user.gid))
            let (place, inside) = (directory.appending(path: "place"), directory.appending(path: "inside"))
            for path in [place, inside] { try await PrivateRedis.start(directory: path).stop() }
            // The configuration names the socket by a path that leads to the other directory in the
            // namespace.
            for name in ["redis.conf", "redis.password"] {
                try FileManager.default.removeItem(at: inside.appending(path: name))
                try FileManager.default.copyItem(at: place.appending(path: name), to: inside.appending(path: name))
                chown(inside.appending(path: name).path, user.uid, user.gid)
            }
            let conf = place.appending(path: "redis.conf").path
            let server = try user.command(
                [try Programs.find("redis-server", package: "redis-server"), conf], parentDeathSignal: "KILL")
            let script = "mount --bind '\(inside.path)' '\(place.path)' && exec \"$@\""
            let foreign = try await ChildProcess.start(
                [try Programs.find("unshare", package: "util-linux"), "-m", "/bin/sh", "-c", script, "sh"] + server,
                environment: ["PATH": Programs.path], log: "/dev/null")
            let socket = inside.appending(path: "redis.sock").path
            while !FileManager.default.fileExists(atPath: socket), !foreign.hasExited {
                try await Task.sleep(for: .milliseconds(10))
            }
            let own = try await PrivateRedis.start(directory: place)
            #expect(!foreign.hasExited)
            try await RedisConnection.connect(RedisConfiguration(url: own.url)).ping()
            try await own.stop()
            foreign.signal(SIGKILL)
            _ = await foreign.exit()
        }
    }

    private static func canUnshare() async throws -> Bool {
        guard geteuid() == 0 else { return false }
        let unshare = try Programs.find("unshare", package: "util-linux")
        return try await ChildProcess.run([unshare, "-m", "/bin/true"], log: "/dev/null") == .code(0)
    }

    /// After a reboot, or in a copy, another process of the server's user may have the number in
    /// the lock.
    @Test func aStaleLockOfTheDataIsRemoved() async throws {
        try await withDirectory { directory in
            let lock = directory.appending(path: "postgres-data/postmaster.pid")
            var text = ""
            try await withPostgres(directory) { _ in text = try String(contentsOf: lock, encoding: .utf8) }
            let user = try ServiceUser.current()
            let other = try await ChildProcess.start(
                user.command([try Programs.find("sleep", package: "coreutils"), "600"], parentDeathSignal: "KILL"),
                log: "/dev/null")
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            try Data(([Substring("\(other.pid)")] + lines.dropFirst()).joined(separator: "\n").utf8).write(to: lock)
            chown(lock.path, user.uid, user.gid)
            try await withPostgres(directory) { server in try await expect(server.url, "SELECT 1", gives: "1") }
            #expect(!other.hasExited)
            other.signal(SIGKILL)
            _ = await other.exit()
        }
    }

    /// In a container, root may be barred from the processes of the server's user. Then that user
    /// is asked.
    @Test(.enabled(if: geteuid() == 0)) func theServersUserFindsWhatRootMayNotSee() async throws {
        try await withDirectory { directory in
            let user = try ServiceUser.current()
            let service = try ServiceDirectory(directory, user: user)
            let found = try await user.finds("/proc/self/root\(service.path(""))", toBe: service.path(""))
            #expect(found)
            #expect(try await !user.finds("/proc/self/root/tmp", toBe: service.path("")))
        }
    }
}
