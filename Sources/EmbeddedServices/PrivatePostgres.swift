package import Foundation
import PrivateFiles
import Texts

/// A private Postgres server in one directory. It runs as long as this process lives.
///
/// If the process ends without ``stop()``, even by `kill -9`, the kernel sends the server SIGINT,
/// which means a fast shutdown.
package actor PrivatePostgres {
    /// How long a start may take.
    static let timeout = Duration.seconds(60)
    /// How long each signal of a stop may take before the next, stronger one is sent. Committed
    /// data is on the disk in any case, so nobody should wait long for a server that hangs.
    private static let stopping = (gentle: Duration.seconds(15), forceful: Duration.seconds(5))

    /// Only a part of the socket's name: each server has its own directory, so the number need not
    /// be unique.
    private static let socketPort = 5432
    private static let socket = ".s.PGSQL.\(socketPort)"

    private let cluster: PostgresCluster
    private let lock: DirectoryLock
    private let settings: [String: String]  // plain: names of settings, our own
    private let address: ServerAddress
    private var child: ChildProcess?
    /// The directory of the socket while the server accepts connections on one.
    private var socketPlace: DirectoryHandle?

    /// The server's address, which ``restart()`` does not change. By socket it is
    /// `postgresql://jobledger:<password>@/jobledger?host=<directory>&port=5432`, with
    /// `&requirepeer=<user>` if the socket is in /tmp. Over TCP it is
    /// `postgresql://jobledger:<password>@127.0.0.1:<port>/jobledger`.
    package nonisolated let url: String
    /// The directory of the socket if it is in /tmp.
    package nonisolated let temporarySockets: TemporarySockets?
    /// The file with the output of the server and its tools.
    package nonisolated let log: URL

    /// Starts a server in `directory`, and returns when it accepts connections.
    ///
    /// Makes the directory, a cluster in it and the empty database `jobledger` if they do not
    /// exist. If this process is root, the server runs as the user `postgres`, or else `nobody`,
    /// who then owns the directory.
    /// - Parameters:
    ///   - settings: additional server settings, such as `["fsync": "off"]` for tests.
    ///   - listening: how clients reach the server.
    /// - Throws: ``EmbeddedServiceError`` if Postgres is not installed, another process runs a
    ///   server there, or the server does not start; then the message has the end of its log.
    package static func start(
        directory: URL,
        settings: [String: String] = [:],  // plain: names of settings, our own
        listening: Listening = .unixSocket
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
        _ directory: ServiceDirectory, _ lock: DirectoryLock,
        _ settings: [String: String],  // plain: names of settings, our own
        _ listening: Listening
    ) async throws {
        self.lock = lock
        let programs = try Programs.postgres()
        try directory.prepareLog(PostgresCluster.log)
        let log = directory.path(PostgresCluster.log)
        let reaching = try await directory.user.reaching(directory.path(""), log: log)
        cluster = PostgresCluster(directory: directory, user: reaching, programs: programs)
        try await cluster.orphan.stop(gentle: SIGINT, forceful: SIGQUIT)
        try await cluster.create()
        address = try ServerAddress.choose(listening, of: "postgres", socket: Self.socket, in: directory)
        temporarySockets = TemporarySockets(address.sockets, directory.user)
        let (user, database) = ("jobledger:\(try cluster.password())", "jobledger")
        self.url =
            switch address {
            case .unixSocket(let place):
                "postgresql://\(user)@/\(database)?host=\(place.path)&port=\(Self.socketPort)\(place.query)"
            case .loopback(let port): "postgresql://\(user)@127.0.0.1:\(port)/\(database)"
            }
        self.settings = settings
        self.log = URL(filePath: log)
    }

    /// The process number of the postmaster; `nil` if it does not run.
    package var pid: Int32? { child.flatMap { $0.hasExited ? nil : $0.pid } }

    /// Waits until the server has ended, for any reason. Returns early if the task is cancelled.
    package func exit() async { _ = await child?.exit() }

    /// Stops the server: by a fast shutdown, and by stronger signals if that takes too long. It
    /// closes connections and loses nothing that is committed.
    ///
    /// Also works in a cancelled task. The directory stays locked until this object is released.
    package func stop() async throws {
        try await end(SIGINT, SIGQUIT, SIGKILL)
        try address.sockets?.remove()
    }

    /// Stops the server by SIGQUIT, which is like a crash: the next start recovers from the log.
    package func kill() async throws {
        try await end(SIGQUIT, SIGKILL)
    }

    /// Starts the stopped server again, at the same address.
    /// - Throws: ``DirectoryLost`` if the directory is not the one that was locked, and what
    ///   ``start(directory:settings:listening:)`` throws.
    package func restart() async throws {
        try await end(SIGINT, SIGQUIT, SIGKILL)
        try lock.requireHeld()
        // Processes left behind by a killed server would keep the next one from starting.
        try await cluster.orphan.stop(gentle: SIGQUIT, forceful: SIGKILL, timeout: .seconds(5))
        try await launch()
    }

    /// Stops a server whose socket was removed, for example by a cleaner of /tmp: it runs, but
    /// nobody can reach it. Whoever waits for its ``exit()`` has to restart it.
    package func stopUnreachable() async throws {
        guard let socketPlace, !(socketPlace.isThere && socketPlace.identity(of: Self.socket) != nil) else { return }
        try await end(SIGINT, SIGQUIT, SIGKILL)
    }

    private func end(_ signals: Int32...) async throws {
        guard let child else { return }
        self.child = nil
        socketPlace = nil
        // A server that shuts down removes its socket by path. If the directory was replaced, that
        // path may be another server's socket, so it is killed.
        let signals = lock.isHeld ? signals : [SIGKILL]
        let ended = await child.end(
            by: signals.map { ($0, $0 == SIGINT ? Self.stopping.gentle : Self.stopping.forceful) })
        guard ended else { throw EmbeddedServiceError("Postgres, process \(child.pid), does not end") }
    }

    private func launch() async throws {
        try cluster.removeStaleLock()
        let place = try address.sockets?.prepare()
        let child = try await ChildProcess.start(
            try cluster.user.command(arguments, parentDeathSignal: "INT"),
            environment: PostgresCluster.environment, log: cluster.directory.path(PostgresCluster.log))
        self.child = child
        do {
            try await waitUntilReady(child)
            socketPlace = place
        } catch {
            try await end(SIGINT, SIGQUIT, SIGKILL)
            throw error
        }
    }

    private var arguments: [String] {
        var all = settings
        switch address {
        case .unixSocket(let directory):
            all["listen_addresses"] = ""
            all["unix_socket_directories"] = directory.path
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
        let deadline = clock.now.advanced(by: Self.timeout)
        let directory = cluster.directory
        let place =
            switch address {
            case .unixSocket(let directory): ["--host=\(directory.path)", "--port=\(Self.socketPort)"]
            case .loopback(let port): ["--host=127.0.0.1", "--port=\(port)"]
            }
        let ask = ["\(cluster.programs)/pg_isready", "--quiet", "--timeout=2"] + place
        while true {
            // The server writes its state to this file. Reading it is cheaper than running
            // pg_isready each time.
            let state = try directory.read("postgres-data/postmaster.pid")?.split(
                separator: "\n", omittingEmptySubsequences: false)
            if let state, state.count > 7, state[0] == "\(child.pid)", state[7].hasPrefix("ready") {
                let exit = try await ChildProcess.run(ask, environment: PostgresCluster.environment, log: "/dev/null")
                if exit == .code(0) { return }
            }
            let now = clock.now
            if let exit = await child.exit(within: .milliseconds(20)) { throw startFailure("ended with \(exit)") }
            if now > deadline { throw startFailure("is not ready after \(Self.timeout)") }
            try Task.checkCancellation()
        }
    }

    private func startFailure(_ what: String) -> EmbeddedServiceError {
        cluster.directory.startFailure("Postgres \(what)", log: PostgresCluster.log)
    }
}
