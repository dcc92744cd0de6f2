import EmbeddedServices
import Foundation
import LedgerTesting
import Synchronization
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(10))) struct LostServerTests {
    @Test func aServerKilledInMidQueryAndBackAgain() async throws {
        try await withOwnServer { server in
            let configuration = PostgresConfiguration(url: server.url)
            let watcher = try await PostgresConnection.connect(configuration)
            let connection = try await PostgresConnection.connect(configuration)
            let process = await connection.serverProcess
            let task = Task { try await connection.query("SELECT pg_sleep(600)") }
            try await watcher.waitUntilAsleep(process)
            try await server.kill()
            let error = try await postgresError { _ = try await task.value }
            #expect(
                error.kind == .connectionLost && error.outcomeIsUnknown && error.isRetriable
                    && error.isConnectionFailure)
            #expect(await connection.isUsable() == false)
            #expect(try await postgresError { try await connection.query("SELECT 1") }.kind == .connectionLost)
            #expect(await watcher.isUsable() == false)

            // The server is away: one attempt fails, and an attempt with a timeout succeeds later.
            let away = try await postgresError { _ = try await PostgresConnection.connect(configuration) }
            #expect(away.kind == .cannotConnect && away.isRetriable && !away.outcomeIsUnknown)
            async let patient = PostgresConnection.connect(configuration, timeout: .seconds(60))
            try await server.restart()
            let again = try await patient
            #expect(try await again.stillWorks())
        }
    }

    @Test func theProcessIsKilled() async throws {
        try await withOwnServer { server in
            let configuration = PostgresConfiguration(url: server.url)
            let watcher = try await PostgresConnection.connect(configuration)
            let connection = try await PostgresConnection.connect(configuration)
            let process = await connection.serverProcess
            let task = Task { try await connection.transaction { try await $0.query("SELECT pg_sleep(600)") } }
            try await watcher.waitUntilAsleep(process)
            kill(process, SIGKILL)
            let error = try await postgresError { _ = try await task.value }
            #expect(error.kind == .connectionLost && error.outcomeIsUnknown)
            // Postgres ends all other sessions too, and recovers.
            let again = try await PostgresConnection.connect(configuration, timeout: .seconds(60))
            #expect(try await again.stillWorks())
        }
    }

    @Test func aServerThatDiesDuringACopyIn() async throws {
        try await withOwnServer { server in
            let connection = try await PostgresConnection.connect(PostgresConfiguration(url: server.url))
            try await connection.execute(script: "CREATE TABLE t (s text)")
            let chunk = Array((String(repeating: "z", count: 1 << 16 - 1) + "\n").utf8)
            let sent = Atomic(0)
            // The source never ends by itself: only the error ends this.
            let endless = AsyncThrowingStream<[UInt8], any Error> {
                if sent.add(1, ordering: .relaxed).oldValue == 100 { try await server.kill() }
                return chunk
            }
            let error = try await postgresError { try await connection.copyIn("COPY t FROM STDIN", endless) }
            #expect(error.kind == .connectionLost)
            #expect((100..<10_000).contains(sent.load(ordering: .relaxed)))
        }
    }

    @Test func aTerminatedSession() async throws {
        try await withConnection { connection in
            let process = await connection.serverProcess
            try await withConnection { other in
                let task = Task { try await connection.query("SELECT pg_sleep(600)") }
                try await other.waitUntilAsleep(process)
                try await other.query("SELECT pg_terminate_backend($1, 30000)", process)
                let error = try await postgresError { _ = try await task.value }
                #expect(error.isConnectionFailure && error.outcomeIsUnknown && error.isRetriable)
                #expect(await connection.isUsable() == false)
            }
        }
    }

    /// The server sends an error before it closes the connection. After reading only the error, the
    /// connection looks alive.
    @Test func anIdleSessionThatWasTerminatedIsNotUsable() async throws {
        try await withConnection { connection in
            #expect(await connection.isUsable())
            let process = await connection.serverProcess
            try await withConnection { try await $0.query("SELECT pg_terminate_backend($1, 30000)", process) }
            #expect(await connection.isUsable() == false)
        }
    }

    /// A session cleans up before it ends, and that can take long: here it waits for another
    /// session that uses its temporary table.
    @Test func aSessionThatIsAboutToEndIsNotUsable() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMPORARY TABLE kept (number int)")
            let process = await connection.serverProcess
            let schema: String = try await connection.query("SELECT pg_my_temp_schema()::regnamespace::text").only()
                .decode(0)
            try await withConnection { other in
                try await other.execute(script: "BEGIN; LOCK TABLE \(schema).kept IN ACCESS SHARE MODE")
                try await other.query("SELECT pg_terminate_backend($1)", process)
                try await other.waitUntilLocked(process)
                #expect(await connection.isUsable() == false)
                try await other.execute(script: "ROLLBACK")
            }
        }
    }

    /// A stopped server answers neither the statement nor the request to cancel it.
    @Test func aFrozenServerBlocksNobodyForEver() async throws {
        try await withOwnServer { server in
            let configuration = PostgresConfiguration(url: server.url, silence: .milliseconds(300))
            let connection = try await PostgresConnection.connect(configuration)
            let session = await connection.serverProcess
            let postmaster = try #require(await server.pid)
            kill(session, SIGSTOP)
            kill(postmaster, SIGSTOP)
            defer {
                kill(postmaster, SIGCONT)
                kill(session, SIGCONT)
            }
            let start = ContinuousClock.now
            let error = try await postgresError { try await connection.query("SELECT 1") }
            #expect(error.kind == .timedOut)
            #expect(start.duration(to: .now) < .seconds(20))
            #expect(await connection.isUsable() == false)
        }
    }
}
