import LedgerTesting
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(10))) struct PreparedTests {
    @Test func aPreparedStatementIsParsedOnce() async throws {
        try await withConnection { connection async throws in
            for number in 0..<20 {
                let statement = PostgresStatement("SELECT $1 + 1", [number], isPrepared: true)
                #expect(try await connection.query(statement).only().decode(0, as: Int.self) == number + 1)
            }
            #expect(try await connection.number("SELECT count(*) FROM pg_prepared_statements") == 1)
        }
    }

    @Test func afterAnErrorItCanBeUsedAgain() async throws {
        try await withConnection { connection async throws in
            func divide(_ by: Int) async throws -> Int {
                try await connection.query(PostgresStatement("SELECT 10 / $1", [by], isPrepared: true)).only().decode(0)
            }
            #expect(try await divide(2) == 5)
            let error = try await postgresError { try await divide(0) }
            #expect(error.sqlState == SQLState("22012"))
            #expect(try await divide(5) == 2)
            let broken = try await postgresError {
                try await connection.query(PostgresStatement("SELECT broken", isPrepared: true))
            }
            #expect(broken.sqlState == SQLState("42703"))
            #expect(try await connection.stillWorks())
        }
    }

    /// A migration changes the result of a function: the next call works as if nothing had been
    /// prepared.
    @Test func aChangedResultOfAFunctionIsNoError() async throws {
        try await withConnection { connection async throws in
            try await connection.execute(
                script: "CREATE FUNCTION pg_temp.f() RETURNS TABLE (a int) LANGUAGE sql AS 'SELECT 1'")
            let statement = PostgresStatement("SELECT * FROM pg_temp.f()", isPrepared: true)
            for _ in 0..<8 { #expect(try await connection.query(statement).only().decode("a", as: Int.self) == 1) }
            try await connection.execute(
                script: """
                    DROP FUNCTION pg_temp.f();
                    CREATE FUNCTION pg_temp.f() RETURNS TABLE (a int, b int) LANGUAGE sql AS 'SELECT 1, 2'
                    """)
            for _ in 0..<2 { #expect(try await connection.query(statement).only().decode("b", as: Int.self) == 2) }
        }
    }

    @Test func aStaleConnectionSendsNothing() async throws {
        try await withConnection { connection async throws in
            let statement = PostgresStatement("SELECT 1", isPrepared: true)
            let rows = try await connection.queryUnlessStale(statement)
            #expect(rows?.count == 1)
            let process = await connection.serverProcess
            try await withConnection { other async throws in
                try await other.query("SELECT pg_terminate_backend($1)", process)
                _ = try await eventually("the process has gone") {
                    try await other.number("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", process) == 0
                        ? true : nil
                }
            }
            let none = try await connection.queryUnlessStale(statement)
            #expect(none == nil)
        }
    }

    /// An array that is filled element by element is sent like one that is complete.
    @Test func arraysFilledByElement() async throws {
        try await withConnection { connection async throws in
            var texts = PostgresArray<String>()
            var numbers = PostgresArray<Int32?>()
            let long = String(repeating: "é", count: 100_000)
            for text in ["", "a", long] { texts.append(text) }
            for number in [1, nil, -3] as [Int32?] { numbers.append(number) }
            let row = try await connection.query("SELECT $1, $2, $3", texts, numbers, PostgresArray<Int>()).only()
            #expect(try row.decode(0, as: [String].self) == ["", "a", long])
            #expect(try row.decode(1, as: [Int32?].self) == [1, nil, -3])
            #expect(try row.decode(2, as: [Int].self) == [])
        }
    }
}
