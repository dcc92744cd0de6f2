import Foundation
import PrivateFiles
import Texts

/// The files of a Postgres cluster: made once, whole or not at all.
struct PostgresCluster: Sendable {
    let directory: ServiceDirectory
    let user: ServiceUser
    /// Where the server's programs are.
    let programs: String

    static let log = "postgres.log"
    private static let draft = "postgres-data.making"

    var data: String { directory.path(Self.data) }
    private static let data = "postgres-data"
    private var passwordFile: String { "postgres.password" }
    static var environment: [String: String] { ["PATH": Programs.path, "LC_ALL": "C.UTF-8", "TZ": "UTC"] }  // plain: our own

    func password() throws -> String {
        guard let text = try directory.handle.read(passwordFile), !text.isEmpty else {
            throw EmbeddedServiceError(
                "\(directory.path(passwordFile)) is missing; without it nobody can log in to \(data)")
        }
        return text
    }

    /// Makes the cluster unless it is there, under another name: only the rename at the end makes
    /// it the cluster, and an attempt that is interrupted leaves nothing that a later one could
    /// take for it.
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
        // The server alone, without a network: the cluster is complete before it gets its name.
        let statements = "postgres-create.sql"
        try directory.write("CREATE DATABASE jobledger\n", to: statements)
        try await run(["\(programs)/postgres", "--single", "-D", draft, "postgres"], input: directory.path(statements))
        try directory.handle.remove(statements)
        try directory.handle.rename(name, to: Self.data)
    }

    /// What runs in it without an owner.
    var orphan: OrphanedServer {
        OrphanedServer(
            programs: ["postgres"], argument: data, home: directory, workplace: (data, identity),
            what: "the Postgres in \(data)")
    }

    private var identity: FileIdentity? { directory.handle.identity(of: Self.data) }

    /// The lock of an earlier server has its number, and the next believes in it as long as any
    /// process has that number: one that nobody has reaped, as in a container, or another's after a
    /// reboot or in a copy of the directory. The lock goes; the caller knows that nothing else runs
    /// in the directory.
    func forgetPostmaster() throws {
        let lock = try directory.read("\(Self.data)/postmaster.pid")
        guard let pid = lock?.split(separator: "\n").first.flatMap({ pid_t($0) }),
            identity?.isAt("/proc/\(pid)/cwd") != true
        else { return }
        // Should it stay, the server says so when it starts.
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
            // As the server's user, who could lead root elsewhere by a link.
            let remove = try user.command(
                [try Programs.find("rm", package: "coreutils"), "-rf", "--", draft], parentDeathSignal: "KILL")
            // A child of that initdb may write for another instant, and then the directory is not
            // empty when it should be.
            let deadline = ContinuousClock.now.advanced(by: .seconds(30))
            while try await ChildProcess.run(remove, environment: Self.environment, log: directory.path(Self.log))
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
            try user.command(command, parentDeathSignal: "KILL"), environment: Self.environment, input: input, log: log)
        guard exit == .code(0) else {
            throw EmbeddedServiceError("\(command[0]) failed (\(exit)):\n\(directory.lastLines(of: Self.log))")
        }
    }
}
