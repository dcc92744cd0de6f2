package import Foundation
import PrivateFiles
import Texts

/// A Postgres server of our own, in one directory, for as long as this process lives.
///
/// When the process ends without ``stop()``, even by `kill -9`, the kernel sends the server SIGINT,
/// a fast shutdown.
package actor PrivatePostgres {
    /// A start gives up after this long.
    static let timeout = Duration.seconds(60)
    /// How long a stop may take before it turns forceful, and again. What is committed is on the
    /// disk in any case; whoever waits for the end, an operator or the system, is not to wait for a
    /// server that hangs.
    private static let stopping = (gentle: Duration.seconds(15), forceful: Duration.seconds(5))

    /// A part of the socket's name, and nothing else: each server has a directory of its own.
    private static let socketPort = 5432
    private static let socket = ".s.PGSQL.\(socketPort)"

    private let cluster: PostgresCluster
    private let lock: DirectoryLock
    private let settings: [String: String]  // plain: names of settings, our own
    private let address: ServerAddress
    private var child: ChildProcess?
    /// Where its socket is, while it accepts connections by one.
    private var socketPlace: DirectoryHandle?

    /// `postgresql://jobledger:<password>@/jobledger?host=<directory>&port=5432` by its socket,
    /// with `&requirepeer=<user>` where that is in /tmp, and over TCP
    /// `postgresql://jobledger:<password>@127.0.0.1:<port>/jobledger`; the same after every
    /// ``restart()``.
    package nonisolated let url: String
    /// Where its socket is, if that is in /tmp.
    package nonisolated let temporarySockets: TemporarySockets?
    /// What the server and its tools print.
    package nonisolated let log: URL

    /// Starts a server in `directory`, which is made, with a new cluster and the empty database
    /// `jobledger`, when needed.
    ///
    /// Returns when the server accepts connections. As root it runs as the user `postgres`, or else
    /// `nobody`, who then owns the directory.
    /// - Parameters:
    ///   - settings: server settings beyond ours, such as `["fsync": "off"]` for tests.
    ///   - listening: how it can be reached.
    /// - Throws: ``EmbeddedServiceError`` when Postgres is not installed, another process runs a
    ///   server there, or the server does not come up; the message then has the end of its log.
    package static func start(
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

    /// The process number of the postmaster; `nil` when it does not run.
    package var pid: Int32? { child.flatMap { $0.hasExited ? nil : $0.pid } }

    /// Waits until the server has ended, for whatever reason; returns early when the task is
    /// cancelled.
    package func exit() async { _ = await child?.exit() }

    /// Stops the server: fast, and at once when that takes long. Connections are closed; nothing
    /// committed is lost.
    ///
    /// Works in a cancelled task as well. The directory stays locked until this object is dropped.
    package func stop() async throws {
        try await end(SIGINT, SIGQUIT, SIGKILL)
        try address.sockets?.remove()
    }

    /// Stops the server as a crash would, by SIGQUIT: the next start recovers from the log.
    package func kill() async throws {
        try await end(SIGQUIT, SIGKILL)
    }

    /// Starts the stopped server again, at the same address.
    /// - Throws: ``DirectoryLost`` too.
    package func restart() async throws {
        try await end(SIGINT, SIGQUIT, SIGKILL)
        try lock.requireHeld()
        // What a server that was killed left behind is in the way of the next.
        try await cluster.orphan.stop(gentle: SIGQUIT, forceful: SIGKILL, timeout: .seconds(5))
        try await launch()
    }

    /// Stops a server whose socket somebody has removed, a cleaner of /tmp say: it runs, and nobody
    /// can reach it. To be restarted by whoever waits for its ``exit()``.
    package func stopUnreachable() async throws {
        guard let socketPlace, !(socketPlace.isThere && socketPlace.identity(of: Self.socket) != nil) else { return }
        try await end(SIGINT, SIGQUIT, SIGKILL)
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
                if await child.exit(within: signal == SIGINT ? Self.stopping.gentle : Self.stopping.forceful) != nil {
                    return true
                }
            }
            return false
        }.value
        guard ended else { throw EmbeddedServiceError("Postgres, process \(child.pid), does not end") }
    }

    private func launch() async throws {
        try cluster.forgetPostmaster()
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
            // The server says in its own file when it is ready: cheaper to look at than to ask.
            let state = try directory.read("postgres-data/postmaster.pid")?.split(
                separator: "\n", omittingEmptySubsequences: false)
            if let state, state.count > 7, state[0] == "\(child.pid)", state[7].hasPrefix("ready") {
                let exit = try await ChildProcess.run(ask, environment: PostgresCluster.environment, log: "/dev/null")
                if exit == .code(0) { return }
            }
            let now = clock.now
            if let exit = await child.exit(within: .milliseconds(20)) { throw trouble("ended with \(exit)") }
            if now > deadline { throw trouble("is not ready after \(Self.timeout)") }
            try Task.checkCancellation()
        }
    }

    private func trouble(_ what: String) -> EmbeddedServiceError {
        EmbeddedServiceError(
            "Postgres \(what).\(cluster.directory.diskNote) The end of \(log.path):\n\(cluster.directory.lastLines(of: PostgresCluster.log))"
        )
    }
}
