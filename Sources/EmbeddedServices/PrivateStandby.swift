package import Foundation
import PrivateFiles

/// A standby of a ``PrivatePostgres``, for tests and benchmarks: a copy that replicates it under
/// the name `standby`. It listens on a socket, and runs as long as this process lives.
package final class PrivateStandby: Sendable {
    /// Its address; that of the primary with another host.
    package let url: String
    /// An address that names both servers.
    package let urlOfBoth: String
    private let process: ChildProcess

    /// Copies the primary, and starts to replicate it.
    /// - Parameters:
    ///   - port: where the standby reaches the primary on 127.0.0.1, if not at its own address: a
    ///     proxy.
    /// - Throws: ``EmbeddedServiceError`` with the end of the log.
    package static func start(
        of primary: PrivatePostgres, in directory: URL, throughPort port: UInt16? = nil
    ) async throws -> PrivateStandby {
        let directory = try ServiceDirectory(directory, user: try ServiceUser.current())
        let (programs, data, log) = (try Programs.postgres(), directory.path("data"), directory.path(Self.log))
        try directory.prepareLog(Self.log)
        let reaching = try await directory.user.reaching(directory.path(""), log: log)
        guard let parts = URLComponents(string: primary.url), let password = parts.password,
            let host = parts.queryItems?.first(where: { $0.name == "host" })?.value ?? parts.host
        else { throw EmbeddedServiceError("the primary's address has no host or no password") }
        let primaryPort = parts.port ?? 5432
        let exit = try await ChildProcess.run(
            reaching.command(
                [
                    "\(programs)/pg_basebackup", "-D", data, "-h", host, "-p", "\(primaryPort)", "-U", "jobledger",
                    "-R",
                    "-X", "stream", "-c", "fast",
                ], parentDeathSignal: "KILL"), environment: ["PGPASSWORD": password], log: log)
        guard exit == .code(0) else { throw directory.startFailure("pg_basebackup ended with \(exit)", log: Self.log) }
        let way = port.map { "host=127.0.0.1 port=\($0)" } ?? "host=\(host) port=\(primaryPort)"
        let settings = [
            "listen_addresses=", "port=5432", "fsync=off", "unix_socket_directories=\(directory.path(""))",
            // As many as any primary here has: a standby with fewer does not start.
            "max_connections=600",
            // A commit that waits for a standby which was named late is answered with its next
            // status.
            "wal_receiver_status_interval=1",
            "primary_conninfo=\(way) user=jobledger password=\(password) application_name=standby",
        ]
        let process = try await ChildProcess.start(
            reaching.command(
                ["\(programs)/postgres", "-D", data] + settings.flatMap { ["-c", $0] }, parentDeathSignal: "INT"),
            log: log)
        return PrivateStandby(parts, process, directory.path(""), host, primaryPort)
    }

    private static let log = "standby.log"

    private init(_ primary: URLComponents, _ process: ChildProcess, _ place: String, _ host: String, _ port: Int) {
        let login = "postgresql://jobledger:\(primary.password ?? "")@/jobledger"
        url = "\(login)?host=\(place)&port=5432"
        urlOfBoth = "\(login)?host=\(host),\(place)&port=\(port),5432"
        self.process = process
    }

    /// Stops it; its files stay.
    package func stop() async {
        process.signal(SIGINT)
        _ = await process.exit()
    }
}
