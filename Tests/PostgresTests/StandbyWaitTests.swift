import LedgerTesting
import Testing

@testable import Postgres

/// Commits that wait for a standby: where the wait ends early, the outcome is unknown.
@Suite(.timeLimit(.minutes(10)), .serialized) struct StandbyWaitTests {
    enum Way: CaseIterable, Sendable {
        case statement, prepared, script, pipeline, transaction, copy, stream

        func insert(_ row: Int, on connection: PostgresConnection) async throws {
            let sql = "INSERT INTO rows VALUES (\(row))"
            switch self {
            case .statement: try await connection.query(sql)
            case .prepared: try await connection.query(PostgresStatement(sql, isPrepared: true))
            case .script: try await connection.execute(script: sql)
            case .pipeline:
                for answer in try await connection.pipeline([PostgresStatement(sql), PostgresStatement("SELECT 1")]) {
                    _ = try answer.get()
                }
            case .transaction: try await connection.transaction { try await $0.query(sql) }
            case .copy:
                let chunks = AsyncStream<[UInt8]> { stream in
                    stream.yield(Array("\(row)\n".utf8))
                    stream.finish()
                }
                _ = try await connection.copyIn("COPY rows FROM STDIN", chunks)
            case .stream: for try await row in connection.stream("\(sql) RETURNING 1") { _ = row }
            }
        }
    }

    /// The server answers a cancelled wait with a warning and a success.
    @Test func aCancelledWaitIsNoSuccess() async throws {
        try await StandbyDemand.with { demand in
            try await demand.execute(script: "CREATE TABLE rows (id integer)")
            try await demand.begin()
            for (row, way) in Way.allCases.enumerated() {
                let connection = try await PostgresConnection.connect(PostgresConfiguration(url: demand.url))
                let insert = Task { try await way.insert(row, on: connection) }
                try await demand.cancelWait(of: try await demand.nextWait())
                let error = await #expect(throws: PostgresError.self, "\(way)") { try await insert.value }
                #expect(error?.kind == .notReplicated && error?.outcomeIsUnknown == true, "\(way): \(error!)")
                #expect(error?.isRetriable == true)
                // It is committed, and readers see it.
                #expect(try await demand.count("rows") == Int64(row + 1), "\(way)")
                // A pipeline that ends with an error closes its connection.
                if way != .pipeline { #expect(try await connection.stillWorks(), "\(way)") }
                await connection.close()
            }
            try await demand.end()
        }
    }

    /// A statement that must not be cancelled goes on without its caller.
    @Test(arguments: [true, false]) func aGivenUpStatementIsCancelledOrGoesOn(_ endsByClosing: Bool) async throws {
        try await StandbyDemand.with { demand in
            try await demand.execute(script: "CREATE TABLE rows (id integer)")
            let connection = try await PostgresConnection.connect(PostgresConfiguration(url: demand.url))
            try await demand.begin()
            let insert = Task {
                try await connection.query(
                    PostgresStatement("INSERT INTO rows VALUES (1)", endsByClosing: endsByClosing))
            }
            let wait = try await demand.nextWait()
            insert.cancel()
            let error = await #expect(throws: PostgresError.self) { try await insert.value }
            #expect(error?.outcomeIsUnknown == true)
            #expect(error?.kind == (endsByClosing ? .cancelled : .notReplicated))
            #expect(await connection.isUsable() == !endsByClosing)
            #expect(try await demand.waiting() == (endsByClosing ? [wait] : []))
            try await demand.end()
            _ = try await eventually("nothing waits any more") { try await demand.waiting().isEmpty ? true : nil }
            #expect(try await demand.count("rows") == 1)
            await connection.close()
        }
    }

    /// A silence that is too long does not turn the wait into a success either.
    @Test func theDriversOwnLimitClosesTheConnection() async throws {
        try await StandbyDemand.with { demand in
            try await demand.execute(script: "CREATE TABLE rows (id integer)")
            let connection = try await PostgresConnection.connect(
                PostgresConfiguration(url: demand.url, silence: .milliseconds(300)))
            try await demand.begin()
            let error = await #expect(throws: PostgresError.self) {
                try await connection.query(PostgresStatement("INSERT INTO rows VALUES (1)", endsByClosing: true))
            }
            #expect(error?.kind == .timedOut && error?.outcomeIsUnknown == true && error?.isRetriable == true)
            #expect(await !connection.isUsable())
            #expect(try await demand.waiting().count == 1)
            try await demand.end()
        }
    }
}
