package import Foundation
import PrivateFiles
import Redis
import Texts

/// A private Redis server without persistence. It runs as long as this process lives.
///
/// If the process ends without ``stop()``, even by `kill -9`, the kernel sends the server SIGTERM.
package final class PrivateRedis: Sendable {
    private static let log = "redis.log"
    private static let configuration = "redis.conf"
    private static let socket = "redis.sock"
    private static let kind = ServerProcess.Kind(
        name: "Redis", log: PrivateRedis.log, socket: PrivateRedis.socket, parentDeathSignal: "TERM",
        stopping: [(SIGTERM, .seconds(10)), (SIGKILL, .seconds(10))], killing: [(SIGKILL, .seconds(10))],
        pause: .milliseconds(10))

    private let program: String
    /// The path of the configuration.
    private let configuration: String
    private let address: ServerAddress
    private let process: ServerProcess

    /// The server's address, which ``restart()`` does not change. By socket it is
    /// `unix://:<password>@<path of the socket>?db=0`, with `&requirepeer=<user>` if the socket is
    /// in /tmp. Over TCP it is `redis://:<password>@127.0.0.1:<port>/0`.
    package let url: String
    /// The directory of the socket if it is in /tmp.
    package let temporarySockets: TemporarySockets?
    /// The file with the output of the server.
    package let log: URL

    /// Starts a server in `directory`, which is made if needed, and returns when it answers.
    /// - Parameters:
    ///   - settings: additional lines of redis.conf, such as `["maxmemory": "100mb"]`.
    ///   - listening: how clients reach the server.
    /// - Throws: ``EmbeddedServiceError``, like
    ///   ``PrivatePostgres/start(directory:settings:listening:)``.
    package static func start(
        directory: URL,
        settings: [String: String] = [:],  // plain: names of settings, our own
        listening: Listening = .unixSocket
    ) async throws -> PrivateRedis {
        let directory = try ServiceDirectory(directory, user: try ServiceUser.current())
        let lock = try DirectoryLock(path: directory.path("redis.lock"), for: "Redis in \(directory.path(""))")
        return try await LocalPort.start {
            let server = try await PrivateRedis(directory, lock, settings, listening)
            return (server, server.address.port)
        } _: {
            try await $0.launch()
        }
    }

    private init(
        _ directory: ServiceDirectory, _ lock: DirectoryLock,
        _ settings: [String: String],  // plain: names of settings, our own
        _ listening: Listening
    ) async throws {
        program = try Programs.find("redis-server", package: "redis-server")
        try directory.prepareLog(Self.log)
        let user = try await directory.user.reaching(directory.path(""), log: directory.path(Self.log))
        log = URL(filePath: directory.path(Self.log))
        configuration = directory.path(Self.configuration)
        try await Self.orphan(in: directory).stop(gentle: SIGTERM, forceful: SIGKILL)
        address = try ServerAddress.choose(listening, of: "redis", socket: Self.socket, in: directory)
        temporarySockets = TemporarySockets(address.sockets, directory.user)
        process = ServerProcess(Self.kind, in: directory, as: user, lock, at: address)
        let password = try Self.password(directory)
        // The password is in a file, because every user can see command lines. The server must not
        // change its command line, because the next start looks for this path in it.
        var lines = [
            "protected-mode yes", "requirepass \(password)", "dir \(Self.quoted(directory.path("")))", "save \"\"",
            "appendonly no", "daemonize no", "set-proc-title no", "always-show-logo no",
        ]
        switch address {
        case .unixSocket(let place):
            self.url = "unix://:\(password)@\(place.path)/\(Self.socket)?db=0\(place.queryOrNumber)"
            lines += ["port 0", "unixsocket \(place.path)/\(Self.socket)", "unixsocketperm 700"]
        case .loopback(let port):
            self.url = "redis://:\(password)@127.0.0.1:\(port)/0"
            lines += ["bind 127.0.0.1", "port \(port)"]
        }
        lines += settings.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        try directory.write(lines.joined(separator: "\n") + "\n", to: Self.configuration)
    }

    /// A server that runs in the directory without an owner.
    private static func orphan(in directory: ServiceDirectory) -> OrphanedServer {
        OrphanedServer(
            programs: ["redis-server"], argument: directory.path(configuration), home: directory,
            workplace: (directory.path(""), directory.handle.identity), what: "the Redis in \(directory.path(""))")
    }

    private static func password(_ directory: ServiceDirectory) throws -> String {
        if let password = try directory.handle.read("redis.password") { return password }
        let password = ServiceDirectory.makePassword()
        try directory.write(password, to: "redis.password")
        return password
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    /// The process number of the server; `nil` if it does not run.
    package var pid: Int32? { get async { await process.pid } }

    /// Waits until the server has ended, for any reason. Returns early if the task is cancelled.
    package func exit() async { await process.exit() }

    /// Stops the server, by SIGKILL if it takes too long. Also works in a cancelled task.
    package func stop() async throws { try await process.stop() }

    /// Stops the server by SIGKILL, which is like a crash.
    package func kill() async throws { try await process.kill() }

    /// Starts the stopped server again, empty, at the same address.
    /// - Throws: ``DirectoryLost`` if the directory is not the one that was locked, and what
    ///   ``start(directory:settings:listening:)`` throws.
    package func restart() async throws {
        try await process.stopForRestart()
        try await launch()
    }

    /// Stops a server whose socket was removed: see ``PrivatePostgres/stopUnreachable()``.
    package func stopUnreachable() async throws { try await process.stopUnreachable() }

    private func launch() async throws {
        let place = try RedisConfiguration(url: url)
        try await process.launch([program, configuration]) { _ in await PrivateRedis.readiness(at: place) }
    }

    private static func readiness(at place: RedisConfiguration) async -> ServerProcess.Readiness {
        do {
            let connection = try await RedisConnection.connect(place)
            await connection.close()
            return .ready
        } catch {
            return .notYet(reason: "\(error)")
        }
    }
}
