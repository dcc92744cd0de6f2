package import Foundation
import PrivateFiles
import Texts

/// A private Postgres server in one directory. It runs as long as this process lives.
///
/// If the process ends without ``stop()``, even by `kill -9`, the kernel sends the server SIGINT,
/// which means a fast shutdown.
package final class PrivatePostgres: Sendable {
    /// Only a part of the socket's name: each server has its own directory, so the number need not
    /// be unique.
    private static let socketPort = 5432
    private static let socket = ".s.PGSQL.\(socketPort)"

    /// Committed data is on the disk however the server ends, so nobody should wait long for one
    /// that hangs.
    private static let kind = ServerProcess.Kind(
        name: "Postgres", log: PostgresCluster.log, socket: PrivatePostgres.socket, parentDeathSignal: "INT",
        stopping: [(SIGINT, .seconds(15)), (SIGQUIT, .seconds(5)), (SIGKILL, .seconds(5))],
        killing: [(SIGQUIT, .seconds(5)), (SIGKILL, .seconds(5))], pause: .milliseconds(20))

    private let cluster: PostgresCluster
    private let settings: [String: String]  // plain: names of settings, our own
    private let address: ServerAddress
    private let process: ServerProcess

    /// The server's address, which ``restart()`` does not change. By socket it is
    /// `postgresql://jobledger:<password>@/jobledger?host=<directory>&port=5432`, with
    /// `&requirepeer=<user>` if the socket is in /tmp. Over TCP it is
    /// `postgresql://jobledger:<password>@127.0.0.1:<port>/jobledger`.
    package let url: String
    /// The directory of the socket if it is in /tmp.
    package let temporarySockets: TemporarySockets?
    /// The file with the output of the server and its tools.
    package let log: URL

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
        let programs = try Programs.postgres()
        try directory.prepareLog(PostgresCluster.log)
        let log = directory.path(PostgresCluster.log)
        let reaching = try await directory.user.reaching(directory.path(""), log: log)
        cluster = PostgresCluster(directory: directory, user: reaching, programs: programs)
        try await cluster.orphan.stop(gentle: SIGINT, forceful: SIGQUIT)
        try await cluster.create()
        address = try ServerAddress.choose(listening, of: "postgres", socket: Self.socket, in: directory)
        temporarySockets = TemporarySockets(address.sockets, directory.user)
        process = ServerProcess(Self.kind, in: directory, as: reaching, lock, at: address)
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
    package var pid: Int32? { get async { await process.pid } }

    /// Waits until the server has ended, for any reason. Returns early if the task is cancelled.
    package func exit() async { await process.exit() }

    /// Stops the server: by a fast shutdown, and by stronger signals if that takes too long. It
    /// closes connections and loses nothing that is committed.
    ///
    /// Also works in a cancelled task. The directory stays locked until this object is released.
    package func stop() async throws { try await process.stop() }

    /// Stops the server by SIGQUIT, which is like a crash: the next start recovers from the log.
    package func kill() async throws { try await process.kill() }

    /// Starts the stopped server again, at the same address.
    /// - Throws: ``DirectoryLost`` if the directory is not the one that was locked, and what
    ///   ``start(directory:settings:listening:)`` throws.
    package func restart() async throws {
        try await process.stopForRestart()
        // Processes left behind by a killed server would keep the next one from starting.
        try await cluster.orphan.stop(gentle: SIGQUIT, forceful: SIGKILL, timeout: .seconds(5))
        try await launch()
    }

    /// Stops a server whose socket was removed, for example by a cleaner of /tmp: it runs, but
    /// nobody can reach it. Whoever waits for its ``exit()`` has to restart it.
    package func stopUnreachable() async throws { try await process.stopUnreachable() }

    private func launch() async throws {
        try cluster.removeStaleLock()
        try await process.launch(arguments) { try await self.readiness(of: $0) }
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

    private func readiness(of pid: Int32) async throws -> ServerProcess.Readiness {
        // The server writes its state to this file. Reading it is cheaper than running pg_isready
        // each time.
        let state = try cluster.directory.read("postgres-data/postmaster.pid")?.split(
            separator: "\n", omittingEmptySubsequences: false)
        guard let state, state.count > 7, state[0] == "\(pid)", state[7].hasPrefix("ready") else {
            return .notYet(reason: "")
        }
        let place =
            switch address {
            case .unixSocket(let directory): ["--host=\(directory.path)", "--port=\(Self.socketPort)"]
            case .loopback(let port): ["--host=127.0.0.1", "--port=\(port)"]
            }
        let exit = try await ChildProcess.run(
            ["\(cluster.programs)/pg_isready", "--quiet", "--timeout=2"] + place,
            environment: ServerProcess.environment, log: "/dev/null")
        return exit == .code(0) ? .ready : .notYet(reason: "")
    }
}
