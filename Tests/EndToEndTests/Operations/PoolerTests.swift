import Foundation
import LedgerTesting
import Postgres
import PrivateFiles
import Testing

@testable import EmbeddedServices

/// A pgbouncer in front of the Postgres of the tests, which runs as long as `body`.
private enum Pooler {
    static func with(mode: String, of user: UserLedger, _ body: (_ url: String) async throws -> Void) async throws {
        let directory = try makeDirectory("pooler")
        defer { try? FileManager.default.removeItem(at: directory) }
        let server = try #require(URLComponents(string: user.ledger.url))
        let asked = try await user.psql("SELECT current_setting('port'), current_setting('unix_socket_directories')")
        let answer = try #require(asked.lines.first?.split(separator: "|", omittingEmptySubsequences: false))
        let host = server.host.flatMap { $0.isEmpty ? nil : $0 } ?? String(answer[1])
        let port = try LocalPort.choose(rememberedIn: "port", of: try DirectoryHandle(directory.path))
        let users = directory.appending(path: "users.txt").path
        try Data("\"\(server.user ?? "")\" \"\(server.password ?? "")\"\n".utf8).write(to: URL(filePath: users))
        let file = directory.appending(path: "pgbouncer.ini").path
        try Data(
            """
            [databases]
            * = host=\(host) port=\(answer[0])
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = \(port)
            unix_socket_dir =
            auth_type = trust
            auth_file = \(users)
            pool_mode = \(mode)
            default_pool_size = 2

            """.utf8
        ).write(to: URL(filePath: file))
        // pgbouncer refuses to run as root, so it runs as the servers' user.
        let log = directory.appending(path: "log").path
        let pgbouncer = try await ChildProcess.start(
            try ServiceUser.current().command(
                [try Programs.find("pgbouncer", package: "pgbouncer"), file], parentDeathSignal: "KILL"),
            environment: ["PATH": Programs.path], log: log)
        var url = server
        (url.host, url.port, url.query) = ("127.0.0.1", Int(port), nil)
        let address = try #require(url.string)
        _ = try await eventually("the pooler answers") {
            try await Program.psql().run(["-c", "SELECT 1", address]).code == 0 ? true : nil
        }
        do {
            try await body(address)
        } catch {
            pgbouncer.signal(SIGKILL)
            throw error
        }
        pgbouncer.signal(SIGKILL)
        _ = await pgbouncer.exit()
    }
}

extension EndToEnd {
    @Suite("a pooler") struct PoolerTests {
        @Test("is refused by every command in both modes", arguments: ["transaction", "session"])
        func refused(_ mode: String) async throws {
            _ = try await PythonTools.python()
            try await UserLedger.with { user in
                try await Pooler.with(mode: mode, of: user) { url in
                    var behind = user
                    behind.environment["DATABASE_URL"] = url
                    for command in [
                        ["append", "a", "queued", "--data", #"{"name": "x"}"#], ["status"], ["migrate"], ["serve"],
                        ["relay"], ["project"], ["rebuild", "batch_jobs"], ["token", "list"], ["export", "--out", "-"],
                    ] {
                        let outcome = try await Program.jobledger.run(command, environment: behind.environment)
                        #expect(
                            outcome.code == 3 && outcome.errors.contains("leads to a pooler"), "\(command): \(outcome)")
                    }
                    #expect(try await user.ledger.count() == 0)
                }
            }
        }

        /// SQL callers of two ledgers share two sessions. Each event must be in the ledger that its
        /// statement names.
        @Test("works for SQL callers that name the schema") func callersOfSQL() async throws {
            _ = try await PythonTools.python()
            try await UserLedger.with { one in
                try await UserLedger.with { other in
                    try await Pooler.with(mode: "transaction", of: one) { url in
                        try await withThrowingTaskGroup(of: Void.self) { group in
                            for (number, user) in [one, other, one, other].enumerated() {
                                group.addTask {
                                    let connection = try await PostgresConnection.connect(
                                        PostgresConfiguration(url: url))
                                    let append = #".append_event($1, 'queued', '{"name":"x"}')"#
                                    for job in 0..<20 {
                                        try await connection.query(
                                            "SELECT \"\(user.ledger.name)\"" + append,
                                            "\(user.ledger.name) \(number) \(job)")
                                    }
                                    await connection.close()
                                }
                            }
                            try await group.waitForAll()
                        }
                    }
                    for user in [one, other] {
                        let jobs = try await user.psql(
                            """
                            SELECT count(*), count(*) FILTER (WHERE starts_with(stream_id, '\(user.ledger.name) '))
                            FROM "\(user.ledger.name)".events
                            """)
                        #expect(jobs.lines == ["40|40"], "\(jobs)")
                    }
                }
            }
        }
    }
}
