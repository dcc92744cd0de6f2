import Foundation
import PrivateFiles
import Texts

/// A Postgres server of our own, in one directory, for as long as this process lives.
///
/// When the process ends without ``stop()``, even by `kill -9`, the kernel sends the server SIGINT, a fast shutdown.
public actor PrivatePostgres {
    /// Whether a start gives up after this long, and a stop turns forceful.
    static let patience = Duration.seconds(60)

    /// A part of the socket's name, and nothing else: each server has a directory of its own.
    private static let socketPort = 5432

    private let cluster: PostgresCluster
    private let lock: DirectoryLock
    private let settings: [String: String]  // plain: names of settings, our own
    private let address: ServerAddress
    private var child: ChildProcess?

    /// `postgresql://jobledger:<password>@/jobledger?host=<directory>&port=5432` by its socket, and over TCP
    /// `postgresql://jobledger:<password>@127.0.0.1:<port>/jobledger`; the same after every restart.
    public nonisolated let url: String
    /// What the server and its tools print.
    public nonisolated let log: URL

    /// Starts a server in `directory`, which is made, with a new cluster and the empty database `jobledger`, when needed.
    ///
    /// Returns when the server accepts connections. As root it runs as the user `postgres`, or else `nobody`, who then
    /// owns the directory.
    /// - Parameters:
    ///   - settings: server settings beyond ours, such as `["fsync": "off"]` for tests.
    ///   - listening: how it can be reached.
    /// - Throws: ``EmbeddedServiceError`` when Postgres is not installed, another process runs a server there, or the server
    ///   does not come up; the message then has the end of its log.
    public static func start(
        directory: URL, settings: [String: String] = [:], listening: Listening = .unixSocket  // plain: names of settings, our own
    ) async throws -> PrivatePostgres {
        let directory = try ServiceDirectory(directory, user: try ServiceUser.current())
        let lock = try DirectoryLock(path: directory.path("postgres.lock"), for: "Postgres in \(directory.path(""))")
        return try await LocalPort.start {
            let server = try await PrivatePostgres(directory, lock, settings, listening)
            return (server, server.address.port)
        } _: {
            try await $0.launch()
        }
    }

    private init(
        _ directory: ServiceDirectory, _ lock: DirectoryLock, _ settings: [String: String],  // plain: names of settings, our own
        _ listening: Listening
    ) async throws {
        self.lock = lock
        let programs = try Programs.postgres()
        try directory.prepareLog(PostgresCluster.log)
        let log = directory.path(PostgresCluster.log)
        let reaching = try await directory.user.reaching(directory.path(""), log: log)
        cluster = PostgresCluster(directory: directory, user: reaching, programs: programs)
        try await Leftover.stop(
            programs: ["postgres"], argument: ExactText(cluster.data), gentle: SIGINT, forceful: SIGQUIT,
            what: "the Postgres in \(cluster.data)")
        try await cluster.create()
        address = try ServerAddress.choose(listening, of: "postgres", socket: ".s.PGSQL.\(Self.socketPort)", in: directory)
        let (user, database) = ("jobledger:\(try cluster.password())", "jobledger")
        self.url =
            switch address {
            case .unixSocket(let place): "postgresql://\(user)@/\(database)?host=\(place)&port=\(Self.socketPort)"
            case .loopback(let port): "postgresql://\(user)@127.0.0.1:\(port)/\(database)"
            }
        self.settings = settings
        self.log = URL(filePath: log)
    }

    /// The process number of the postmaster; `nil` when it does not run.
    public var pid: Int32? { child.flatMap { $0.hasExited ? nil : $0.pid } }

    /// Waits until the server has ended, for whatever reason; returns early when the task is cancelled.
    public func exit() async { _ = await child?.exit() }

    /// Stops the server: fast, and at once when that takes long. Connections are closed; nothing committed is lost.
    ///
    /// Works in a cancelled task as well. The directory stays locked until this object is dropped.
    public func stop() async throws {
        try await end(SIGINT, SIGQUIT, SIGKILL)
    }

    /// Stops the server as a crash would, by SIGQUIT: the next start recovers from the log.
    public func kill() async throws {
        try await end(SIGQUIT, SIGKILL)
    }

    /// Starts the stopped server again, at the same address.
    public func restart() async throws {
        try await stop()
        // What a server that was killed left behind is in the way of the next.
        try await Leftover.stop(
            programs: ["postgres"], argument: ExactText(cluster.data), gentle: SIGQUIT, forceful: SIGKILL,
            what: "the Postgres in \(cluster.data)", patience: .seconds(5))
        try await launch()
    }

    private func end(_ signals: Int32...) async throws {
        guard let child else { return }
        self.child = nil
        // A task of its own: the caller's cancellation must not make a patient stop a forceful one.
        let ended = await Task {
            for signal in signals {
                child.signal(signal)
                if await child.exit(within: signal == SIGINT ? Self.patience : .seconds(10)) != nil { return true }
            }
            return false
        }.value
        guard ended else { throw EmbeddedServiceError("Postgres, process \(child.pid), does not end") }
    }

    private func launch() async throws {
        cluster.forgetUnreapedPostmaster()
        try forgetSocket()
        let child = try await ChildProcess.start(
            try cluster.user.command(arguments, parentDeathSignal: "INT"),
            environment: PostgresCluster.environment, log: cluster.directory.path(PostgresCluster.log))
        self.child = child
        do {
            try await waitUntilReady(child)
        } catch {
            try await end(SIGINT, SIGQUIT, SIGKILL)
            throw error
        }
    }

    /// The lock of a socket has the number of the server that made it, and the next believes in it as long as any process has that number. In this
    /// directory nothing of an earlier run is left by now.
    private func forgetSocket() throws {
        guard case .unixSocket(let directory) = address else { return }
        let place = try DirectoryHandle(directory)
        for name in [".s.PGSQL.\(Self.socketPort).lock", ".s.PGSQL.\(Self.socketPort)"] { try place.remove(name) }
    }

    private var arguments: [String] {
        var all = settings
        switch address {
        case .unixSocket(let directory):
            all["listen_addresses"] = ""
            all["unix_socket_directories"] = directory
            all["unix_socket_permissions"] = "0700"
            all["port"] = "\(Self.socketPort)"
        case .loopback(let port):
            all["listen_addresses"] = "127.0.0.1"
            all["unix_socket_directories"] = ""
            all["port"] = "\(port)"
        }
        return ["\(cluster.programs)/postgres", "-D", cluster.data]
            + all.sorted { $0.key < $1.key }.flatMap { ["-c", "\($0.key)=\($0.value)"] }
    }

    private func waitUntilReady(_ child: ChildProcess) async throws {
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: Self.patience)
        let directory = cluster.directory
        let place =
            switch address {
            case .unixSocket(let directory): ["--host=\(directory)", "--port=\(Self.socketPort)"]
            case .loopback(let port): ["--host=127.0.0.1", "--port=\(port)"]
            }
        let ask = ["\(cluster.programs)/pg_isready", "--quiet", "--timeout=2"] + place
        while true {
            // The server says in its own file when it is ready: cheaper to look at than to ask.
            let state = directory.read("postgres-data/postmaster.pid")?.split(separator: "\n", omittingEmptySubsequences: false)
            if let state, state.count > 7, state[0] == "\(child.pid)", state[7].hasPrefix("ready") {
                let exit = try await ChildProcess.run(ask, environment: PostgresCluster.environment, log: "/dev/null")
                if exit == .code(0) { return }
            }
            let now = clock.now
            if let exit = await child.exit(within: .milliseconds(20)) { throw trouble("ended with \(exit)") }
            if now > deadline { throw trouble("is not ready after \(Self.patience)") }
            try Task.checkCancellation()
        }
    }

    private func trouble(_ what: String) -> EmbeddedServiceError {
        EmbeddedServiceError(
            "Postgres \(what).\(cluster.directory.diskNote) The end of \(log.path):\n\(cluster.directory.lastLines(of: PostgresCluster.log))"
        )
    }
}
