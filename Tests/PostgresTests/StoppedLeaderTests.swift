import EmbeddedServices
import LedgerTesting
import Testing
import Texts

@testable import Postgres

/// A leader that was stopped accepts connections and statements, and answers none. Whoever waits
/// for it learns of a new leader from other sessions of the process. All limits of time here are
/// longer than the tests may take.
@Suite(.timeLimit(.minutes(5))) struct StoppedLeaderTests {
    /// A configuration whose sessions know their server.
    private static func following(_ url: String) -> PostgresConfiguration {
        var configuration = PostgresConfiguration(url: url, connectTimeout: 200)
        configuration.requirement = PostgresRequirement(encoding: "UTF8", oldestServer: 150_000)
        configuration.leading = LeadingServer(memory: .seconds(600))
        return configuration
    }

    @Test func nobodyWaitsForItsAnswer() async throws {
        try await withOwnServer { server in
            let configuration = Self.following(server.url)
            let leading = try #require(configuration.leading)
            let waiting = try await PostgresConnection.connect(configuration)
            let copying = try await PostgresConnection.connect(configuration)
            let idle = try await PostgresConnection.connect(configuration)
            let watcher = try await PostgresConnection.connect(PostgresConfiguration(url: server.url))
            let processes = [await waiting.serverProcess, await copying.serverProcess]
            let answer = Task { try await waiting.query("SELECT pg_sleep(600)") }
            let bytes = Task {
                for try await _ in copying.copyOut("COPY (SELECT pg_sleep(600)) TO STDOUT") {}
            }
            for process in processes { try await watcher.waitUntilAsleep(process) }
            try leading.meet(try await Self.timeline("FFFFFFFF", of: server))
            for error in [
                try await postgresError { try await answer.value }, try await postgresError { try await bytes.value },
            ] {
                // The statement may take effect there.
                #expect(error.kind == .connectionLost && error.outcomeIsUnknown && error.isRetriable, "\(error)")
                #expect("\(error)".contains("old leader"))
            }
            // Nothing is sent on this one.
            let unsent = try await postgresError { try await idle.query("SELECT 1") }
            #expect(unsent.kind == .cannotConnect && !unsent.outcomeIsUnknown, "\(unsent)")
            for session in [waiting, copying, idle] { #expect(await !session.isUsable()) }
            await watcher.close()
        }
    }

    @Test func aConnectionToItIsLeft() async throws {
        try await withOwnServer { server in
            let silent = try SilentServer()
            defer { silent.stop() }
            let configuration = Self.following(server.url.withAnother(silent))
            let leading = try #require(configuration.leading)
            // The silent host led.
            try leading.meet(try await Self.timeline("00000000", of: server), at: 0)
            let connecting = Task { try await PostgresConnection.connect(configuration) }
            try await eventually("it is asked") { silent.isAsked ? () : nil }
            await PostgresConnection.meet(1, of: configuration)
            #expect(leading.host == 1)
            let connection = try await connecting.value
            #expect(try await connection.stillWorks())
            await connection.close()
        }
    }

    /// A session that is ended says so, idle or in a statement.
    @Test(arguments: [End.idle, .inStatement, .immediate, .beforeStatement])
    func aServerThatEndsItsSessionsMayLeadNoMore(_ end: End) async throws {
        try await withOwnServer { server in
            let configuration = Self.following(server.url)
            let session = try await PostgresConnection.connect(configuration)
            #expect(configuration.leading?.knowsNone == false)
            let process = await session.serverProcess
            let watcher = try await PostgresConnection.connect(PostgresConfiguration(url: server.url))
            if end == .idle {
                try await watcher.query("SELECT pg_terminate_backend($1, 60000)", process)
                try await eventually("it has said so") { await session.isUsable() ? nil : () }
            } else if end == .beforeStatement {
                try await server.kill()
                #expect(try await postgresError { try await session.query("SELECT 1") }.isConnectionFailure)
                try await server.restart()
            } else {
                let answer = Task { try await session.query("SELECT pg_sleep(600)") }
                try await watcher.waitUntilAsleep(process)
                if end == .inStatement {
                    try await watcher.query("SELECT pg_terminate_backend($1, 60000)", process)
                } else {
                    try await server.kill()
                }
                #expect(try await postgresError { try await answer.value }.outcomeIsUnknown)
                if end == .immediate { try await server.restart() }
            }
            #expect(configuration.leading?.knowsNone == true)
            await (try PostgresConnection.connect(configuration, timeout: .seconds(60))).close()
            #expect(configuration.leading?.knowsNone == false)
            await watcher.close()
        }
    }

    enum End { case idle, inStatement, immediate, beforeStatement }

    /// The first host of the list is silent.
    @Test func theHostThatLeadsIsAskedFirst() async throws {
        try await withOwnServer { server in
            let silent = try SilentServer()
            defer { silent.stop() }
            let configuration = Self.following(server.url.withAnother(silent))
            // All hosts are asked once. The silent one is not waited for.
            let connection = try await PostgresConnection.connect(configuration)
            #expect(configuration.leading?.host == 1)
            // A disk guard makes no standby of it.
            try await connection.execute(
                script: "ALTER DATABASE jobledger SET default_transaction_read_only = on")
            await PostgresConnection.meet(1, of: configuration)
            #expect(configuration.leading?.knowsNone == false)
            await connection.close()
        }
        // One that libpq has found is asked first, too.
        try await withOwnServer { server in
            let silent = try SilentServer()
            defer { silent.stop() }
            let configuration = Self.following(server.url.withAnother(silent, isFirst: false))
            let leading = try #require(configuration.leading)
            try leading.meet(try await Self.timeline("00000000", of: server))
            await (try PostgresConnection.connect(configuration)).close()
            #expect(leading.host == 0 && !silent.isAsked)
        }
        // Who wants any server gets the first.
        for wanted in ["any", "standby", "prefer-standby", "read-only"] {
            let address = try ConnectionString(SecretText("host=a,b target_session_attrs=\(wanted)"))
            #expect(!address.leadsToPrimary)
        }
        #expect(try ConnectionString(SecretText("host=a,b target_session_attrs=primary")).leadsToPrimary)
        #expect(try !ConnectionString(SecretText("host=a")).leadsToPrimary)
    }

    private static func timeline(_ timeline: String, of server: PrivatePostgres) async throws -> ServerTimeline {
        let connection = try await PostgresConnection.connect(PostgresConfiguration(url: server.url))
        let system: String = try await connection.query("SELECT system_identifier::text FROM pg_control_system()")
            .only().decode(0)
        await connection.close()
        return ServerTimeline(systemIdentifier: system, timeline: timeline, started: "once")
    }
}

extension String {
    /// An address with another host before its own, or after it.
    fileprivate func withAnother(_ server: SilentServer, isFirst: Bool = true) -> String {
        isFirst
            ? replacing("host=", with: "host=127.0.0.1,").replacing("port=", with: "port=\(server.port),")
            : replacing("&port=5432", with: ",127.0.0.1&port=5432,\(server.port)")
    }
}
