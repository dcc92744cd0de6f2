import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("up") struct UpTests {
        @Test("writes its addresses to env, and every command works with --data-dir") func serves() async throws {
            try await UpProcess.with { up in
                let env = try FileManager.default.attributesOfItem(atPath: up.directory.appending(path: "env").path)
                #expect(env[.posixPermissions] as? Int == 0o600)
                #expect(try up.address("REDIS_URL")?.hasPrefix("unix://") == true)
                let url = try #require(try up.address("DATABASE_URL"))
                #expect(url.contains("@/jobledger?host=\(up.directory.path)/postgres&port="))
                let psql = try await Program.psql().run(["-qAt", "-c", "SELECT count(*) FROM jobledger.events", url])
                #expect(psql.code == 0 && psql.lines == ["0"], "\(psql)")

                let appended = try await up.run(
                    "append", "job", "queued", "--data", #"{"name":"first","total":3}"#, "--json")
                #expect(try appended.json()["position"] == 1)
                #expect(try await up.run("show", "job", "--json").json()["status"] == "queued")
                #expect(try await up.run("history", "job", "--json").jsonLines().count == 1)
                let status = try await up.run("status", "--json").json()
                #expect(status["head"] == 1)
                #expect(status["relay"]?["active"] == true)

                let (service, token) = (
                    try #require(try up.address("JOBLEDGER_URL")), try #require(try up.address("JOBLEDGER_TOKEN"))
                )
                let curl = try await ServiceProcess.curl().run([
                    "--silent", "-H", "Authorization: Bearer \(token)", "\(service)/v1/jobs/job?min_position=1",
                ])
                #expect(try curl.json()["name"] == "first", "\(curl)")
                #expect(
                    status["projections"]?.elements.compactMap { $0["name"]?.text } == [
                        "audit_log", "backtesting", "batch_job_runs", "batch_jobs", "daily_job_stats",
                    ])
            }
        }

        @Test("keeps its files private, and listens on ports only with --tcp") func isPrivate() async throws {
            try await UpProcess.with { up in
                for name in ["", "postgres", "redis"] {
                    let mode = try FileManager.default.attributesOfItem(atPath: up.directory.appending(path: name).path)
                    // If root owns it, the servers' user may pass through to its own directories.
                    let expected = name.isEmpty && geteuid() == 0 ? 0o710 : 0o700
                    #expect(mode[.posixPermissions] as? Int == expected, "\(name)")
                }
                for name in ["env", "lock", "ready", "seal.key"] {
                    let mode = try FileManager.default.attributesOfItem(atPath: up.directory.appending(path: name).path)
                    #expect(mode[.posixPermissions] as? Int == 0o600, "\(name)")
                }
                up.program.signal(SIGTERM)
                #expect(try await up.program.end(within: .seconds(60)).code == 0)
                let again = try await Program.jobledger.start(["up", "--data-dir", up.directory.path, "--tcp"])
                try await again.says("The ledger is up.")
                #expect(try up.address("DATABASE_URL")?.contains("@127.0.0.1:") == true)
                #expect(try up.address("REDIS_URL")?.contains("@127.0.0.1:") == true)
                #expect(try await up.run("status").code == 0)
                again.signal(SIGTERM)
                #expect(try await again.end(within: .seconds(60)).code == 0)
            }
        }

        @Test("refuses a second up in the same directory, and goes on") func secondIsRefused() async throws {
            try await UpProcess.with { up in
                let second = try await Program.jobledger.run(["up", "--data-dir", up.directory.path])
                #expect(second.code == 1)
                #expect(second.errors.contains("already run by another process"), "\(second)")
                #expect(up.isReady)
                #expect(try await up.run("append", "job", "queued", "--data", #"{"name":"x"}"#).code == 0)
                #expect(try await up.run("show", "job").code == 0)
            }
        }

        @Test("stops cleanly", arguments: [SIGTERM, SIGINT]) func stops(by signal: Int32) async throws {
            try await UpProcess.with { up in
                up.program.signal(signal)
                let outcome = try await up.program.end()
                #expect(outcome.code == 0, "\(outcome)")
                #expect(up.processes() == [])
                #expect(!up.isReady)
                #expect(try await up.run("status").code == 3)
            }
        }

        @Test("leaves nothing behind if it is stopped during its start") func stopsWhileStarting() async throws {
            let directory = try makeDirectory("up")
            let up = UpProcess(directory: directory, program: try await UpProcess.begin(in: directory))
            try await until("Postgres is being made") {
                !up.processes(named: "initdb").isEmpty || !up.processes(named: "postgres").isEmpty
            }
            up.program.signal(SIGTERM)
            _ = try await up.program.end()
            try await up.untilNothingRuns()

            let again = try await UpProcess.start(in: directory)
            #expect(try await again.head() == 0)
            await again.program.kill()
            try await again.untilNothingRuns()
        }

        @Test("keeps the service's address and token from one start to the next") func keepsItsAddress() async throws {
            let directory = try makeDirectory("up")
            var seen: [[String?]] = []
            for _ in 1...2 {
                let up = try await UpProcess.start(in: directory)
                seen.append([try up.address("JOBLEDGER_URL"), try up.address("JOBLEDGER_TOKEN")])
                up.program.signal(SIGTERM)
                #expect(try await up.program.end().code == 0)
            }
            #expect(seen[0] == seen[1] && !seen[0].contains(nil), "\(seen)")
            try FileManager.default.removeItem(at: directory)
        }

        @Test("is suggested for a directory in which no ledger was started") func noLedger() async throws {
            let outcome = try await Program.jobledger.run(["status", "--data-dir", "/tmp/no-such-ledger"])
            #expect(outcome.code == 2)
            #expect(outcome.errors.contains("jobledger up --data-dir /tmp/no-such-ledger"), "\(outcome)")
        }

        @Test("in a copy of its directory runs another ledger, which sends nothing to the original")
        func copies() async throws {
            let queued = ["queued", "--data", #"{"name":"x"}"#]
            let (directory, copy) = (try makeDirectory("up"), try makeDirectory("up"))
            defer { for directory in [directory, copy] { try? FileManager.default.removeItem(at: directory) } }
            let first = try await UpProcess.start(in: directory)
            #expect(
                try await Program.jobledger.run(["append", "first"] + queued + ["--data-dir", directory.path]).code == 0
            )
            first.program.signal(SIGTERM)
            #expect(try await first.program.end(within: .seconds(60)).code == 0)
            let copied = try await Program(path: "/bin/cp").run(["-a", directory.path + "/.", copy.path])
            #expect(copied.code == 0, "\(copied)")
            let up = try await UpProcess.start(in: directory)
            // A copy made while the original runs also has the process number of its Postgres.
            let lock = "postgres/postgres-data/postmaster.pid"
            let taken = try await Program(path: "/bin/cp").run([
                "-a", "\(directory.path)/\(lock)", "\(copy.path)/\(lock)",
            ])
            #expect(taken.code == 0, "\(taken)")

            let refused = try await Program.jobledger.run(["append", "second"] + queued + ["--data-dir", copy.path])
            #expect(refused.code == 2 && refused.errors.contains("jobledger up --data-dir \(copy.path)"), "\(refused)")
            #expect(refused.errors.contains(directory.path), "\(refused)")
            #expect(try await up.head() == 1)

            let other = try await UpProcess.start(in: copy)
            #expect(try await other.head() == 1)
            #expect(
                try await Program.jobledger.run(["append", "second"] + queued + ["--data-dir", copy.path]).code == 0)
            #expect(try await other.head() == 2)
            #expect(try await up.head() == 1)
            for name in ["JOBLEDGER_URL", "JOBLEDGER_TOKEN", "DATABASE_URL", "REDIS_URL"] {
                #expect(try other.address(name) != up.address(name), "\(name)")
            }
            for up in [up, other] {
                up.program.signal(SIGTERM)
                #expect(try await up.program.end(within: .seconds(60)).code == 0)
            }
        }

        @Test("ends if its directory is removed, and does not touch a new one in its place")
        func directoryIsRemoved() async throws {
            let directory = try makeDirectory("up")
            let first = try await UpProcess.start(in: directory)
            // Repeated, because the servers may write new files while the directory is removed.
            try await until("the directory is gone") {
                try? FileManager.default.removeItem(at: directory)
                return !FileManager.default.fileExists(atPath: directory.path)
            }
            let second = try await UpProcess.start(in: directory)
            let outcome = try await first.program.end()
            #expect(outcome.code == 1 && outcome.errors.contains("was removed, renamed or replaced"), "\(outcome)")
            #expect(second.isReady)
            #expect(try await second.run("append", "job", "queued", "--data", #"{"name":"x"}"#).code == 0)
            #expect(!second.program.errors.contains("has ended, starting it again"), "\(second.program.errors)")
            await second.program.kill()
            try await second.untilNothingRuns()
            try? FileManager.default.removeItem(at: directory)
        }

        @Test("with a long path removes its sockets from /tmp, and sends nothing to a stranger there")
        func longPath() async throws {
            let parent = try makeDirectory("up")
            defer { try? FileManager.default.removeItem(at: parent) }
            let directory = parent.appending(path: String(repeating: "l", count: 100))
            let up = try await UpProcess.start(in: directory)
            let url = try #require(try up.address("DATABASE_URL"))
            let place = try #require(URLComponents(string: url)?.queryItems?.first { $0.name == "host" }?.value)
            #expect(place.hasPrefix("/tmp/jobledger-") && url.contains("&requirepeer="))
            #expect(try up.address("REDIS_URL")?.contains("&requirepeer=") == true)
            #expect(try await up.run("append", "job", "queued", "--data", #"{"name":"x"}"#).code == 0)
            let psql = try await Program.psql().run(["-qAt", "-c", "SELECT count(*) FROM jobledger.events", url])
            #expect(psql.lines == ["1"], "\(psql)")
            up.program.signal(SIGTERM)
            #expect(try await up.program.end(within: .seconds(60)).code == 0)
            #expect(!FileManager.default.fileExists(atPath: place))
            let ended = try await up.run("status")
            #expect(ended.code == 3 && ended.errors.contains("is not running"), "\(ended)")
            try #require(mkdir(place, 0o755) == 0)
            defer { rmdir(place) }
            let strange = try await up.run("status")
            #expect(strange.code == 3 && strange.errors.contains("is not running"), "\(strange)")
        }

        @Test("refuses a setting that names another ledger than --data-dir") func contradiction() async throws {
            try await UpProcess.with { up in
                let append = ["append", "job", "queued", "--data", #"{"name":"x"}"#, "--data-dir", up.directory.path]
                let environment = try await Program.jobledger.run(append, environment: ["JOBLEDGER_SCHEMA": "another"])
                #expect(environment.code == 2 && environment.errors.contains("JOBLEDGER_SCHEMA"), "\(environment)")
                let here = try makeDirectory("here")
                defer { try? FileManager.default.removeItem(at: here) }
                try Data("JOBLEDGER_SCHEMA=another\n".utf8).write(to: here.appending(path: ".env"))
                let file = try await Program.jobledger.run(append, directory: here)
                #expect(
                    file.code == 2 && file.errors.contains(".env: remove it there, or leave out --data-dir"), "\(file)")
                #expect(try await up.head() == 0)
                #expect(
                    try await Program.jobledger.run(append, environment: ["JOBLEDGER_SCHEMA": "jobledger"]).code == 0)
            }
        }

        @Test("refuses an address that it could not read back") func addressOfTwoLines() async throws {
            let directory = try makeDirectory("up")
            defer { try? FileManager.default.removeItem(at: directory) }
            let outcome = try await Program.jobledger.run(
                ["up", "--data-dir", directory.path], environment: ["DATABASE_URL": "host=/nowhere\ndbname=secret"])
            #expect(
                outcome.code == 2 && outcome.errors.contains("DATABASE_URL: it has a control character"), "\(outcome)")
            #expect(!outcome.errors.contains("secret"))
        }
    }
}
