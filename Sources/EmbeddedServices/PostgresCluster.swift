import Foundation
import PrivateFiles
import Texts

/// The files of a Postgres cluster. They are created once, completely or not at all.
struct PostgresCluster: Sendable {
    let directory: ServiceDirectory
    let user: ServiceUser
    /// The directory of the server's programs.
    let programs: String

    static let log = "postgres.log"
    private static let draft = "postgres-data.making"

    var data: String { directory.path(Self.data) }
    private static let data = "postgres-data"
    private var passwordFile: String { "postgres.password" }

    func password() throws -> String {
        guard let text = try directory.handle.read(passwordFile), !text.isEmpty else {
            throw EmbeddedServiceError(
                "\(directory.path(passwordFile)) is missing; without it nobody can log in to \(data)")
        }
        return text
    }

    /// Creates the cluster unless it exists. It is created under another name and renamed at the
    /// end, so an interrupted attempt leaves nothing that could be taken for a cluster.
    func create() async throws {
        try await removeDrafts()
        if FileManager.default.fileExists(atPath: data) { return }
        let name = "\(Self.draft)-\(UInt32.random(in: .min ... .max))"
        let draft = directory.path(name)
        try directory.makeDirectory(name)
        try directory.write(ServiceDirectory.makePassword(), to: passwordFile)
        try await run(
            [
                "\(programs)/initdb", "-D", draft, "--username=jobledger", "--pwfile=\(directory.path(passwordFile))",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
            ], input: "/dev/null")
        // Single-user mode needs no network. The database exists before the cluster gets its name.
        let statements = "postgres-create.sql"
        try directory.write("CREATE DATABASE jobledger\n", to: statements)
        try await run(["\(programs)/postgres", "--single", "-D", draft, "postgres"], input: directory.path(statements))
        try directory.handle.remove(statements)
        try directory.handle.rename(name, to: Self.data)
    }

    /// A server that runs in the cluster without an owner.
    var orphan: OrphanedServer {
        OrphanedServer(
            programs: ["postgres"], argument: data, home: directory, workplace: (data, identity),
            what: "the Postgres in \(data)")
    }

    private var identity: FileIdentity? { directory.handle.identity(of: Self.data) }

    /// Removes the lock file of an earlier server.
    ///
    /// The file holds the process number of that server, and a new server refuses to start while
    /// any process has that number: a dead one that was not reaped, as in a container, or an
    /// unrelated one after a reboot or in a copy of the directory. The caller must know that no
    /// server runs in the directory.
    func removeStaleLock() throws {
        let lock = try directory.read("\(Self.data)/postmaster.pid")
        guard let pid = lock?.split(separator: "\n").first.flatMap({ pid_t($0) }),
            identity?.isAt("/proc/\(pid)/cwd") != true
        else { return }
        // If this fails, the server reports the lock when it starts.
        unlink("\(data)/postmaster.pid")
    }

    private func removeDrafts() async throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: directory.path(""))
        where name.hasPrefix(Self.draft) {
            let draft = directory.path(name)
            try await OrphanedServer(
                programs: ["initdb", "postgres"], argument: draft, home: directory,
                workplace: (draft, directory.handle.identity(of: name)), what: "the initdb in \(draft)"
            ).stop(gentle: SIGTERM, forceful: SIGKILL)
            // Removed as the server's user, not as root: that user could have put a link in the
            // directory that leads root elsewhere.
            let remove = try user.command(
                [try Programs.find("rm", package: "coreutils"), "-rf", "--", draft], parentDeathSignal: "KILL")
            // Repeated, because a child of that initdb may still write a file while rm works, so
            // that the directory is not empty at the end.
            let deadline = ContinuousClock.now.advanced(by: .seconds(30))
            while try await ChildProcess.run(
                remove, environment: ServerProcess.environment, log: directory.path(Self.log))
                != .code(0)
            {
                guard ContinuousClock.now < deadline else { throw EmbeddedServiceError("cannot remove \(draft)") }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    private func run(_ command: [String], input: String) async throws {
        let log = directory.path(Self.log)
        let exit = try await ChildProcess.run(
            try user.command(command, parentDeathSignal: "KILL"), environment: ServerProcess.environment, input: input,
            log: log)
        guard exit == .code(0) else {
            throw EmbeddedServiceError("\(command[0]) failed (\(exit)):\n\(directory.lastLines(of: Self.log))")
        }
    }
}
