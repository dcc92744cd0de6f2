import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("up after kill -9") struct CrashTests {
        private static let queued = #"{"name":"x","total":9}"#

        @Test("of up itself: no process is left, no event is lost, and the log goes on") func ofItself() async throws {
            try await UpProcess.with { up in
                for job in ["a", "b", "c"] {
                    #expect(try await up.run("append", job, "queued", "--data", Self.queued).code == 0)
                }
                #expect(try await up.run("append", "a", "progress", "--data", #"{"completed":4}"#).code == 0)
                await up.program.kill()
                try await up.untilNothingRuns()

                let again = try await UpProcess.start(in: up.directory)
                for job in ["a", "b", "c"] { #expect(try await again.run("show", job).code == 0) }
                #expect(try await again.run("show", "a", "--json").json()["completed"] == 4)
                #expect(try await again.head() == 4)
                #expect(
                    try await again.run("append", "d", "queued", "--data", Self.queued, "--json").json()["position"]
                        == 5)
                await again.program.kill()
            }
        }

        @Test("of up itself: it can be started again at once") func atOnce() async throws {
            try await UpProcess.with { up in
                #expect(try await up.run("append", "a", "queued", "--data", Self.queued).code == 0)
                await up.program.kill()
                let again = try await UpProcess.start(in: up.directory)
                #expect(try await again.head() == 1)
                await again.program.kill()
            }
        }

        @Test("of up and its Postgres at the same time") func ofBoth() async throws {
            try await UpProcess.with { up in
                #expect(try await up.run("append", "a", "queued", "--data", Self.queued).code == 0)
                let postmaster = try #require(up.processes(named: "/postgres").first)
                up.program.signal(SIGKILL)
                kill(postmaster, SIGKILL)
                await up.program.kill()
                let again = try await UpProcess.start(in: up.directory)
                #expect(try await again.head() == 1)
                await again.program.kill()
            }
        }

        @Test("of its Postgres during a long statement") func ofPostgres() async throws {
            try await UpProcess.with { up in
                #expect(try await up.run("append", "a", "queued", "--data", Self.queued).code == 0)
                let url = try #require(try up.address("DATABASE_URL"))
                // A session that computes does not notice that its postmaster is gone.
                let long = try await Program.psql().start([
                    "-c", "SELECT count(*) FROM generate_series(1, 1000000000)", url,
                ])
                try await until("the statement runs") {
                    let active = try await Program.psql().run(
                        [
                            "-qAt", "-c",
                            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series(1, 10%'", url,
                        ])
                    return active.lines == ["2"]
                }
                let postmaster = try #require(up.processes(named: "/postgres").first)
                kill(postmaster, SIGKILL)
                // The append retries until Postgres is back. On a busy machine that takes longer
                // than a command waits, so it is sent again, with the same id.
                let id = UUID().uuidString
                try await until(within: .seconds(300), "the progress is in the log") {
                    let appended = try await up.run(
                        "append", "a", "progress", "--data", #"{"completed":1}"#, "--event-id", id, "--json")
                    guard appended.code == 0 else { return false }
                    #expect(try appended.json()["position"] == 2, "\(appended)")
                    return true
                }
                try await until("the projector has gone on") {
                    try await up.run("show", "a", "--json").json()["completed"] == 1
                }
                #expect(up.program.isRunning && up.isReady)
                await long.kill()
            }
        }

        @Test("of its Redis") func ofRedis() async throws {
            try await UpProcess.with { up in
                let first = try #require(up.processes(named: "/redis-server").first)
                kill(first, SIGKILL)
                try await until("another Redis runs") {
                    up.processes(named: "/redis-server").contains { $0 != first }
                }
                #expect(try await up.run("append", "a", "queued", "--data", Self.queued).code == 0)
                try await until("the relay goes on") {
                    try await up.run("status", "--json").json()["relay"]?["position"] == 1
                }
                #expect(up.program.isRunning)
            }
        }

        @Test("restarts a server whose socket was removed") func restartsForSockets() async throws {
            try await UpProcess.with { up in
                for name in ["redis/redis.sock", "postgres/.s.PGSQL.5432"] {
                    let socket = up.directory.appending(path: name)
                    try FileManager.default.removeItem(at: socket)
                    try await until("\(name) is back") { FileManager.default.fileExists(atPath: socket.path) }
                }
                #expect(try await up.run("append", "a", "queued", "--data", Self.queued).code == 0)
                try await until("the relay goes on") {
                    try await up.run("status", "--json").json()["relay"]?["position"] == 1
                }
                #expect(up.program.isRunning)
            }
        }

        /// A supervisor such as systemd kills a service that takes longer than 90 s to stop.
        @Test("is not needed to stop up when its Postgres hangs") func stopsAHangingPostgres() async throws {
            try await UpProcess.with { up in
                kill(try #require(up.processes(named: "/postgres").first), SIGSTOP)
                up.program.signal(SIGTERM)
                #expect(try await up.program.end(within: .seconds(60)).code == 0)
                try await up.untilNothingRuns()
            }
        }
    }
}
