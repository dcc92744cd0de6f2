package import Foundation
import PrivateFiles
import Redis
import Texts

/// A Redis server of our own, without persistence, for as long as this process lives.
///
/// When the process ends without ``stop()``, even by `kill -9`, the kernel sends the server
/// SIGTERM.
package actor PrivateRedis {
    private static let log = "redis.log"
    /// How long a start may take.
    private static let timeout = Duration.seconds(60)
    private static let configuration = "redis.conf"
    private static let socket = "redis.sock"

    private let directory: ServiceDirectory
    private let user: ServiceUser
    private let lock: DirectoryLock
    private let program: String
    private let address: ServerAddress
    private var child: ChildProcess?
    /// Where its socket is, while it answers by one.
    private var socketPlace: DirectoryHandle?

    /// `unix://:<password>@<path of its socket>?db=0`, with `&requirepeer=<user>` where that is in
    /// /tmp, and over TCP `redis://:<password>@127.0.0.1:<port>/0`; the same after every
    /// ``restart()``.
    package nonisolated let url: String
    /// Where its socket is, if that is in /tmp.
    package nonisolated let temporarySockets: TemporarySockets?
    /// What the server prints.
    package nonisolated let log: URL

    /// Starts a server in `directory`, which is made when needed, and returns when it answers.
    /// - Parameters:
    ///   - settings: lines of redis.conf beyond ours, such as `["maxmemory": "100mb"]`.
    ///   - listening: how it can be reached.
    /// - Throws: ``EmbeddedServiceError`` as
    ///   ``PrivatePostgres/start(directory:settings:listening:)`` does.
    package static func start(
        directory: URL, settings: [String: String] = [:], listening: Listening = .unixSocket  // plain: names of settings, our own
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
        _ directory: ServiceDirectory, _ lock: DirectoryLock, _ settings: [String: String],  // plain: names of settings, our own
        _ listening: Listening
    ) async throws {
        self.directory = directory
        self.lock = lock
        program = try Programs.find("redis-server", package: "redis-server")
        try directory.prepareLog(Self.log)
        user = try await directory.user.reaching(directory.path(""), log: directory.path(Self.log))
        log = URL(filePath: directory.path(Self.log))
        try await Self.orphan(in: directory).stop(gentle: SIGTERM, forceful: SIGKILL)
        address = try ServerAddress.choose(listening, of: "redis", socket: Self.socket, in: directory)
        temporarySockets = TemporarySockets(address.sockets, directory.user)
        let password = try Self.password(directory)
        // In a file, because every user sees command lines; with its own title, because the next
        // start looks for this path.
        var lines = [
            "protected-mode yes", "requirepass \(password)", "dir \(Self.quoted(directory.path("")))", "save \"\"",
            "appendonly no",
            "daemonize no", "set-proc-title no", "always-show-logo no",
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

    /// What runs in it without an owner.
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

    /// The process number of the server; `nil` when it does not run.
    package var pid: Int32? { child.flatMap { $0.hasExited ? nil : $0.pid } }

    /// Waits until the server has ended, for whatever reason; returns early when the task is
    /// cancelled.
    package func exit() async { _ = await child?.exit() }

    /// Stops the server, forcefully when that takes long. Works in a cancelled task as well.
    package func stop() async throws {
        try await end(SIGTERM, SIGKILL)
        try address.sockets?.remove()
    }

    /// Stops the server as a crash would, by SIGKILL.
    package func kill() async throws { try await end(SIGKILL) }

    /// Starts the stopped server again, empty, at the same address.
    /// - Throws: ``DirectoryLost`` too.
    package func restart() async throws {
        try await end(SIGTERM, SIGKILL)
        try lock.requireHeld()
        try await launch()
    }

    /// Stops a server whose socket somebody has removed: see ``PrivatePostgres/stopUnreachable()``.
    package func stopUnreachable() async throws {
        guard let socketPlace, !(socketPlace.isThere && socketPlace.identity(of: Self.socket) != nil) else { return }
        try await end(SIGTERM, SIGKILL)
    }

    private func end(_ signals: Int32...) async throws {
        guard let child else { return }
        self.child = nil
        socketPlace = nil
        // A server that ends by itself removes its socket by the path, where another's may be by
        // now.
        let signals = lock.isHeld ? signals : [SIGKILL]
        // A task of its own: the caller's cancellation must not make a patient stop a forceful one.
        let ended = await Task {
            for signal in signals {
                child.signal(signal)
                if await child.exit(within: .seconds(10)) != nil { return true }
            }
            return false
        }.value
        guard ended else { throw EmbeddedServiceError("Redis, process \(child.pid), does not end") }
    }

    private func launch() async throws {
        let place = try address.sockets?.prepare()
        let child = try await ChildProcess.start(
            try user.command([program, directory.path(Self.configuration)], parentDeathSignal: "TERM"),
            environment: ["PATH": Programs.path, "LC_ALL": "C.UTF-8", "TZ": "UTC"], log: directory.path(Self.log))
        self.child = child
        do {
            try await waitUntilReady(child)
            socketPlace = place
        } catch {
            try await end(SIGTERM, SIGKILL)
            throw error
        }
    }

    private func waitUntilReady(_ child: ChildProcess) async throws {
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: Self.timeout)
        let place = try RedisConfiguration(url: url)
        while true {
            do throws(RedisError) {
                let connection = try await RedisConnection.connect(place)
                await connection.close()
                return
            } catch {
                if clock.now > deadline { throw trouble("is not ready after \(Self.timeout) (\(error))") }
            }
            if let exit = await child.exit(within: .milliseconds(10)) { throw trouble("ended with \(exit)") }
            try Task.checkCancellation()
        }
    }

    private func trouble(_ what: String) -> EmbeddedServiceError {
        EmbeddedServiceError(
            "Redis \(what).\(directory.diskNote) The end of \(log.path):\n\(directory.lastLines(of: Self.log))")
    }
}
