import Foundation
import Redis

/// A Redis server of our own: on 127.0.0.1, without persistence, for as long as this process lives.
///
/// When the process ends without ``stop()``, even by `kill -9`, the kernel sends the server SIGTERM.
public actor PrivateRedis {
    private static let log = "redis.log"
    private static let configuration = "redis.conf"

    private let directory: ServiceDirectory
    private let user: ServiceUser
    private let lock: DirectoryLock
    private let program: String
    private let port: UInt16
    private var child: ChildProcess?

    /// `redis://:<password>@127.0.0.1:<port>/0`, the same after every restart.
    public nonisolated let url: String
    /// What the server prints.
    public nonisolated let log: URL

    /// Starts a server in `directory`, which is made when needed, and returns when it answers.
    /// - Parameter settings: lines of redis.conf beyond ours, such as `["maxmemory": "100mb"]`.
    /// - Throws: ``EmbeddedServiceError`` as ``PrivatePostgres/start(directory:settings:)`` does.
    public static func start(directory: URL, settings: [String: String] = [:]) async throws -> PrivateRedis {
        let directory = try ServiceDirectory(directory, user: try ServiceUser.current())
        let lock = try DirectoryLock(path: directory.path("redis.lock"), for: "Redis in \(directory.path(""))")
        return try await LocalPort.start {
            let server = try await PrivateRedis(directory, lock, settings)
            return (server, server.port)
        } _: {
            try await $0.launch()
        }
    }

    private init(_ directory: ServiceDirectory, _ lock: DirectoryLock, _ settings: [String: String]) async throws {
        self.directory = directory
        self.lock = lock
        program = try Programs.find("redis-server", package: "redis-server")
        try directory.prepareLog(Self.log)
        user = try await directory.user.reaching(directory.path(""), log: directory.path(Self.log))
        log = directory.file(Self.log)
        try await Leftover.stop(
            programs: ["redis-server"], argument: directory.path(Self.configuration),
            gentle: SIGTERM, forceful: SIGKILL, what: "the Redis in \(directory.path(""))")
        port = try LocalPort.choose(rememberedIn: directory.file("redis.port"))
        if directory.read("redis.password") == nil {
            try directory.write(ServiceDirectory.makePassword(), to: "redis.password")
        }
        let password = directory.read("redis.password") ?? ""
        self.url = "redis://:\(password)@127.0.0.1:\(port)/0"
        // In a file, because every user sees command lines; with its own title, because the next start looks for this path.
        var lines = [
            "bind 127.0.0.1", "port \(port)", "protected-mode yes", "requirepass \(password)", "dir \"\(directory.path(""))\"",
            "save \"\"", "appendonly no", "daemonize no", "set-proc-title no", "always-show-logo no",
        ]
        lines += settings.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        try directory.write(lines.joined(separator: "\n") + "\n", to: Self.configuration)
    }

    /// The process number of the server; `nil` when it does not run.
    public var pid: Int32? { child.flatMap { $0.hasExited ? nil : $0.pid } }

    /// Waits until the server has ended, for whatever reason; returns early when the task is cancelled.
    public func exit() async { _ = await child?.exit() }

    /// Stops the server, forcefully when that takes long. Works in a cancelled task as well.
    public func stop() async throws { try await end(SIGTERM, SIGKILL) }

    /// Stops the server as a crash would, by SIGKILL.
    public func kill() async throws { try await end(SIGKILL) }

    /// Starts the stopped server again, empty, on the same port.
    public func restart() async throws {
        try await stop()
        try await launch()
    }

    private func end(_ signals: Int32...) async throws {
        guard let child else { return }
        self.child = nil
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
        let child = try await ChildProcess.start(
            try user.command([program, directory.path(Self.configuration)], parentDeathSignal: "TERM"),
            environment: ["PATH": Programs.path, "LC_ALL": "C.UTF-8", "TZ": "UTC"], log: directory.path(Self.log))
        self.child = child
        do {
            try await waitUntilReady(child)
        } catch {
            try await end(SIGTERM, SIGKILL)
            throw error
        }
    }

    private func waitUntilReady(_ child: ChildProcess) async throws {
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: .seconds(20))
        let place = try RedisConfiguration(url: url)
        while true {
            do throws(RedisError) {
                let connection = try await RedisConnection.connect(place)
                await connection.close()
                return
            } catch {
                if clock.now > deadline { throw trouble("is not ready after 20 seconds (\(error))") }
            }
            if let exit = await child.exit(within: .milliseconds(10)) { throw trouble("ended with \(exit)") }
            try Task.checkCancellation()
        }
    }

    private func trouble(_ what: String) -> EmbeddedServiceError {
        EmbeddedServiceError("Redis \(what). The end of \(log.path):\n\(directory.lastLines(of: Self.log))")
    }
}
