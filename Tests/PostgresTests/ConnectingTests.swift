import EmbeddedServices
import Foundation
import LedgerTesting
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(10))) struct ConnectingTests {
    private func url() async throws -> String { try await TestServers.shared.postgresURL() }

    @Test func theFirstHostMayBeDead() async throws {
        let url = try await url().replacing("@127.0.0.1:", with: "@127.0.0.1:1,127.0.0.1:")
        let connection = try await PostgresConnection.connect(PostgresConfiguration(url: url))
        #expect(try await connection.stillWorks())
    }

    @Test func theConfigurationReachesTheServer() async throws {
        let configuration = PostgresConfiguration(
            url: try await url() + "?options=-c%20geqo%3Doff", applicationName: "it's me",
            sessionSettings: [("search_path", "pg_catalog, \"odd name\""), ("TimeZone", "'Asia/Tokyo'")])
        let connection = try await PostgresConnection.connect(configuration)
        let names = ["application_name", "search_path", "TimeZone", "geqo", "client_encoding"]
        let values: [String] = try await connection.query(
            "SELECT array_agg(current_setting(name) ORDER BY place) FROM unnest($1) WITH ORDINALITY AS t (name, place)",
            names
        ).only().decode(0)
        #expect(values == ["it's me", #"pg_catalog, "odd name""#, "Asia/Tokyo", "off", "UTF8"])
        #expect(await connection.serverVersion >= 150_000)
        #expect(try await connection.number("SELECT pg_backend_pid()") == Int(await connection.serverProcess))
    }

    @Test func aSettingThatTheServerRefusesIsItsError() async throws {
        let configuration = PostgresConfiguration(url: try await url(), sessionSettings: [("no_such_setting", "1")])
        let error = try await postgresError {
            _ = try await PostgresConnection.connect(configuration, timeout: .seconds(30))
        }
        #expect(error.kind == .server && error.sqlState?.code == "42704")
    }

    /// These errors are permanent, so even an endless timeout ends at once.
    @Test(arguments: [
        ("postgresql://localhost:port/x", "from 1 to 65535"), ("postgresql://localhost:99999/x", "from 1 to 65535"),
        ("postgresql://localhost/x?sslmode=perhaps", "sslmode"), ("postgresql://[::1/x", "looking for matching"),
        ("postgresql://u@h/x?no_such_option=1", "URI query parameter"),
        ("host='unfinished", "unterminated"), ("postgres//localhost/x", "missing"),
        ("postgresql://h/%zz", "percent-encoded"),
    ])
    func aMalformedURLIsAClearErrorAtOnce(url: String, clue: String) async throws {
        let error = try await postgresError {
            _ = try await PostgresConnection.connect(PostgresConfiguration(url: url), timeout: nil)
        }
        #expect(error.kind == .cannotConnect && error.isConnectionFailure && !error.isRetriable)
        #expect(error.message.contains(clue), "\(error)")
    }

    /// A password that is not percent-encoded makes libpq take pieces of it for something else, and
    /// show them.
    @Test(arguments: [
        "postgresql://u:SECRET:SECRET@127.0.0.1:1/x", "postgresql://u:1/SECRET@127.0.0.1:1/x",
        "postgresql://u:SE/SECRET@h/x",
        "postgresql://u:SECRET@SECRET@127.0.0.1:1/x", "postgresql://u:a?SECRET@h/x",
        "postgresql://u:a?SECRET=SECRET@h/x",
        "postgresql://u:a?sslmode=SECRET@h/x", "postgresql://u:%SECRET@h/x", "postgresql://u:%00SECRET@h/x",
        "\"postgresql://u:SECRET@h/x\"", "'postgresql://u:SECRET@h/x'", " \"postgresql://u:SECRET@h/x",
        "postgresql:/u:SECRET@h/x",
        "postgresql://u@127.0.0.1:1/x?password=SECRET",
        "postgresql://u@127.0.0.1:1/x?password=SECRET&sslpassword=SECRET",
        "postgresql://u:SECRET@127.0.0.1:1,127.0.0.1:x/x", "postgresql://u:SECRET@[::1/x",
        "postgresql://u:[SECRET@h:1/x",
        "host=127.0.0.1 port=1 password=SECRET", "host=127.0.0.1 port=1 password=a SECRET",
        "host=127.0.0.1 password='SECRET",
        "host=127.0.0.1 password=a SECRET=b", "host=127.0.0.1 port=SECRET password=SECRET",
        "password=SECRET\" port=1 SECRET",
        "host=127.0.0.1 port=1 sslmode=SECRET", "postgresql://u:SEC RET@127.0.0.1:1/x SECRET",
    ])
    func noMessageShowsAPartOfAPassword(url: String) async throws {
        let configuration = PostgresConfiguration(url: url)
        let error = try await postgresError { _ = try await PostgresConnection.connect(configuration) }
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in [
            "\(error)", error.message, String(reflecting: error), "\(configuration)", String(reflecting: configuration),
            dumped,
        ] {
            #expect(!text.contains("SECRET") && !text.contains("SEC RET"))
        }
        #expect(error.kind == .cannotConnect && !error.message.isEmpty)
    }

    @Test func aServerWithoutTLSIsReported() async throws {
        let configuration = PostgresConfiguration(url: try await url() + "?sslmode=require")
        let error = try await postgresError { _ = try await PostgresConnection.connect(configuration) }
        #expect(error.kind == .cannotConnect && error.message.contains("server does not support SSL"))
    }

    @Test func aWrongPasswordIsReported() async throws {
        let url = try await url().replacing(/:[^:@]*@/, with: ":wrong@")
        let error = try await postgresError {
            _ = try await PostgresConnection.connect(PostgresConfiguration(url: url))
        }
        #expect(error.kind == .cannotConnect && error.message.contains("password authentication failed"))
        #expect(!error.message.contains("wrong"))
    }

    @Test func aServerThatRefusesAConnectionAnswers() async throws {
        func isAnswered(_ url: String) async -> Bool {
            await PostgresPool(PostgresConfiguration(url: url)).isAnswered()
        }
        let url = try await url()
        #expect(await isAnswered(url))
        #expect(await isAnswered(url.replacing(/:[^:@]*@/, with: ":wrong@")))
        #expect(await isAnswered(url.replacing("/jobledger", with: "/nowhere")))
        #expect(await !isAnswered("postgresql://127.0.0.1:1/x"))
        #expect(await !isAnswered("postgresql://localhost:port/x"))
        try await withOwnServer { server in
            #expect(await isAnswered(server.url))
            try await server.kill()
            #expect(await !isAnswered(server.url))
            try await server.restart()
        }
    }

    @Test func theTimeoutEnds() async throws {
        let configuration = PostgresConfiguration(url: "postgresql://127.0.0.1:1/x")
        let start = ContinuousClock.now
        let error = try await postgresError {
            _ = try await PostgresConnection.connect(configuration, timeout: .milliseconds(300))
        }
        #expect(error.kind == .cannotConnect)
        #expect((.milliseconds(300) ... .seconds(20)).contains(start.duration(to: .now)))
    }

    @Test func aCancelledTaskStopsTrying() async throws {
        let task = Task {
            _ = try await PostgresConnection.connect(
                PostgresConfiguration(url: "postgresql://127.0.0.1:1/x"), timeout: nil)
        }
        task.cancel()
        await #expect(throws: (any Error).self) { try await task.value }
    }

    /// Sessions and descriptors end with the last reference, even if nobody closed them.
    @Test func aDroppedConnectionIsClosed() async throws {
        let name = "dropped-\(UInt32.random(in: 0...UInt32.max))"
        for _ in 0..<10 {
            _ = try await PostgresConnection.connect(PostgresConfiguration(url: try await url(), applicationName: name))
        }
        try await withConnection { connection in
            try await eventually("the sessions end") {
                try await connection.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", name)
                    == 0
                    ? () : nil
            }
        }
    }
}
