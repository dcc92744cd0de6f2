import Foundation
import LedgerTesting
import Testing

@testable import EmbeddedServices

@Suite(.timeLimit(.minutes(10))) struct PrivatePostgresTests {
    @Test func dataAndURLOutliveARestart() async throws {
        try await withDirectory { directory in
            var url = ""
            try await withPostgres(directory) { server in
                url = server.url
                try await expect(url, "CREATE TABLE t AS SELECT 42 AS n; SELECT n FROM t", gives: "42")
                let settings = "SELECT current_database() || ' ' || current_setting('server_encoding') || ' '"
                let more = "|| current_setting('data_checksums') || ' ' || current_setting('fsync')"
                try await expect(url, settings + more, gives: "jobledger UTF8 on off")
                try await expect(url, "SELECT inet_server_addr() IS NULL", gives: "t")
            }
            try await withPostgres(directory) { server in
                #expect(server.url == url)
                try await expect(url, "SELECT n FROM t", gives: "42")
                try await server.kill()
                #expect(await server.pid == nil)
                try await server.restart()
                try await expect(url, "SELECT n FROM t", gives: "42")
                let log = try String(contentsOf: server.log, encoding: .utf8)
                #expect(log.contains("immediate shutdown request"))
            }
        }
    }

    @Test func thePasswordIsNeededAndPrivate() async throws {
        try await withDirectory { directory in
            try await withPostgres(directory) { server in
                let file = directory.appending(path: "postgres.password")
                let password = try String(contentsOf: file, encoding: .utf8)
                #expect(server.url.hasPrefix("postgresql://jobledger:\(password)@/jobledger?host=/"))
                let attributes = try FileManager.default.attributesOfItem(atPath: file.path)
                #expect(attributes[.posixPermissions] as? Int == 0o600)
                let pid = try #require(await server.pid)
                let line = try String(contentsOf: URL(filePath: "/proc/\(pid)/cmdline"), encoding: .utf8)
                #expect(!line.contains(password))
                let wrong = server.url.replacing(password, with: "wrong")
                let exit = try await ChildProcess.run(
                    [Programs.find("psql", package: "postgresql-client"), "-c", "SELECT 1", wrong],
                    environment: ["PATH": Programs.path], log: "/dev/null")
                #expect(exit == .code(2))
            }
        }
    }

    @Test func aSecondStartOnTheDirectoryIsRefused() async throws {
        try await withDirectory { directory in
            try await withPostgres(directory) { server in
                let error = try await #require(throws: EmbeddedServiceError.self) {
                    _ = try await PrivatePostgres.start(directory: directory)
                }
                #expect(error.description.contains("already run by another process"))
                try await expect(server.url, "SELECT 1", gives: "1")
            }
        }
    }

    @Test func anInterruptedInitdbLeavesNoCluster() async throws {
        try await withDirectory { directory in
            let start = Task { try await PrivatePostgres.start(directory: directory) }
            // The draft is there while initdb runs; cancelling kills initdb with SIGKILL.
            while drafts(directory).isEmpty { await Task.yield() }
            start.cancel()
            await #expect(throws: CancellationError.self) { try await start.value }
            #expect(!FileManager.default.fileExists(atPath: directory.appending(path: "postgres-data").path))
            try await withPostgres(directory) { server in
                try await expect(server.url, "SELECT 1", gives: "1")
                #expect(drafts(directory).isEmpty)
            }
        }
    }

    @Test func aServerThatOutlivedItsOwnerIsStoppedFirst() async throws {
        try await withDirectory { directory in
            try await withPostgres(directory) { try await psqlCreate($0.url) }
            // Started like a normal server, but without a parent-death signal.
            let user = try ServiceUser.current()
            let data = directory.appending(path: "postgres-data").path
            let command = ["\(try Programs.postgres())/postgres", "-D", data, "-c", "listen_addresses=", "-k", ""]
            let orphan = try await ChildProcess.start(
                user.command(command, parentDeathSignal: "clear"), log: directory.appending(path: "orphan.log").path)
            try await withPostgres(directory) { server in
                // The process has ended, but this process may not have reaped it yet.
                #expect(await orphan.exit(within: .seconds(60)) != nil)
                try await expect(server.url, "SELECT n FROM t", gives: "1")
            }
        }
    }

    @Test func aBrokenSettingIsExplainedByTheLog() async throws {
        try await withDirectory { directory in
            let error = try await #require(throws: EmbeddedServiceError.self) {
                _ = try await PrivatePostgres.start(directory: directory, settings: ["no_such_setting": "1"])
            }
            #expect(error.description.contains("unrecognized configuration parameter \"no_such_setting\""))
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root has a home that others cannot enter"))
    func rootMayUseADirectoryThatTheServerCouldNotEnter() async throws {
        try await withDirectory(in: "/root") { directory in
            do {
                try await withPostgres(directory) { server in try await expect(server.url, "SELECT 1", gives: "1") }
            } catch let error as EmbeddedServiceError {
                // In a container, root may lack the capability that the server needs.
                #expect(error.description.contains("--data-dir"))
            }
        }
    }

    private func psqlCreate(_ url: String) async throws {
        _ = try await psql(url, "CREATE TABLE t AS SELECT 1 AS n")
    }

    private func drafts(_ directory: URL) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []).filter { $0.contains("making") }
    }
}
